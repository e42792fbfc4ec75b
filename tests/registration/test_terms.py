"""What a partner must bring: the parties that it may present, and what it must serve."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ocpi_gireve import PartyId, Role, v211, v221
from ocpi_gireve.errors import NoMatchingEndpoints, UrlRefused
from ocpi_gireve.http import UrlPolicy
from ocpi_gireve.interface import Interface
from ocpi_gireve.registration.terms import (
    AS_PRESENTED,
    approvals,
    check_endpoints,
    first_presented,
    requirements,
    role_problems,
)
from ocpi_gireve.store.records import Approval
from ocpi_gireve.types import PartnerEndpoint, PartnerRole
from ocpi_gireve.v211.dialect import DIALECT as V211

V221 = v221.DIALECT
AAA, BBB = PartyId("FR", "AAA"), PartyId("FR", "BBB")
ORIGIN = "https://cpo.example.com"


def role(party: PartyId = AAA, market: Role = Role.CPO) -> PartnerRole:
    """A party as it is presented."""
    return PartnerRole(market, party, "x")


@pytest.mark.parametrize(
    ("approved", "presented", "wrong"),
    [
        (None, [role(), role(BBB)], []),
        ([Approval(AAA, Role.CPO)], [role(PartyId("fr", "aaa"))], []),
        ([Approval(AAA, Role.CPO)], [role(), role(BBB)], ["/roles/1/party_id"]),
        ([Approval(AAA, Role.CPO)], [role(AAA, Role.EMSP)], ["/roles/0/party_id"]),
        ([Approval(AAA, None)], [role(), role(AAA, Role.EMSP)], []),
        ([Approval(None, None)], [role(), role(BBB, Role.EMSP)], []),
        ([], [role()], ["/roles/0/party_id"]),
        (None, [], ["/roles"]),
        ([Approval(None, None)], [role(PartyId("FR", "OUR"))], ["/roles/0/party_id"]),
    ],
)
def test_parties(
    approved: Sequence[Approval] | None, presented: Sequence[PartnerRole], wrong: Sequence[str]
) -> None:
    """A partner presents at least one party, none that is taken, and each was approved in its role."""
    problems = role_problems(presented, approved, lambda party: party.party_id == "OUR", per_role=False)
    assert [problem.pointer for problem in problems] == wrong


@pytest.mark.parametrize("party", [PartyId("FRA", "TOOLONG"), PartyId("F", "AB"), PartyId("FRA", "AB")])
def test_mistyped_party(party: PartyId) -> None:
    """A party whose codes have not the lengths of OCPI is refused before it is pinned."""
    problems = role_problems([role(), role(party)], None, lambda _: False, per_role=False)
    assert [problem.pointer for problem in problems] == ["/roles/1/country_code", "/roles/1/party_id"]
    assert [problem.code for problem in problems] == ["length", "length"]


def test_pointer_of_211() -> None:
    """In 2.1.1 the one party stands beside the token."""
    (problem,) = role_problems([role()], [], lambda _: False, per_role=True)
    assert problem.pointer == "/party_id"


def test_approvals() -> None:
    """An operator approves parties in whichever role, or leaves it to the partner; nothing is no choice."""
    assert approvals([AAA]) == (Approval(AAA, None),)
    assert approvals(AS_PRESENTED) == (Approval(None, None),)
    assert first_presented([role()]) == (Approval(AAA, Role.CPO),)
    nothings: tuple[list[PartyId] | str, ...] = ([], "FR*AAA", "")
    for nothing in nothings:
        with pytest.raises(ValueError, match="expected parties"):
            approvals(nothing)


def test_requirements() -> None:
    """What is required is kept by version, module and role, and has to be an interface of ours."""

    class Private(Interface):
        module, role = "private", v221.InterfaceRole.SENDER

    both = [v221.CdrsReceiver, v211.CdrsEmsp, v221.CdrsReceiver]
    assert requirements([V221, V211], both) == ("2.2.1/cdrs/RECEIVER", "2.1.1/cdrs/EMSP")
    for wrong in (Private, v211.CdrsEmsp):
        with pytest.raises(ValueError, match=f"{wrong.__name__}: expected an interface of a version"):
            requirements([V221], [wrong])


def test_endpoints() -> None:
    """Credentials and what is required must be there; another version's requirements do not count."""
    policy = UrlPolicy(origins=[ORIGIN])
    credentials = PartnerEndpoint("credentials", "", f"{ORIGIN}/credentials")
    cdrs = PartnerEndpoint("cdrs", "RECEIVER", f"{ORIGIN}/cdrs")
    required = ["2.2.1/cdrs/RECEIVER", "2.1.1/tokens/EMSP"]
    assert check_endpoints((cdrs, credentials), policy, V221, required) == (cdrs, credentials)
    sender = PartnerEndpoint("cdrs", "SENDER", cdrs.url)
    with pytest.raises(NoMatchingEndpoints, match=r"lack what is required here: 2\.2\.1/cdrs/RECEIVER"):
        check_endpoints((sender, credentials), policy, V221, required)
    with pytest.raises(NoMatchingEndpoints, match="no credentials endpoint"):
        check_endpoints((cdrs,), policy, V221, [])
    with pytest.raises(UrlRefused, match="endpoint of cdrs"):
        check_endpoints((credentials, PartnerEndpoint("cdrs", "", "https://evil.example")), policy, V221, [])
