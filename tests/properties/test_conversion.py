from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from ocpi_gireve import PartyId, Role, convert, v211, v221
from ocpi_gireve._codec import decode, encode, to_json
from ocpi_gireve._model import Model, replaced
from ocpi_gireve.convert import Converted, NotConvertible
from ocpi_gireve.types import Json
from tests.properties.model_strategies import Objects, strictly
from tests.support import a_location, a_token, an_evse

CPO, EMSP = PartyId("FR", "CPO"), PartyId("FR", "EMP")
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@frozen(kw_only=True)
class Case:
    """A class, its conversion, and the way back.

    Attributes:
        cls: The class of the source.
        there: Converts an object of the class.
        back: Converts the result back; the source stands for what its owner knows.
        known: The pointers of losses that any object of the class has.
    """

    cls: type[Model]
    there: Callable[[Any], Converted[Any]]
    back: Callable[[Any, Any], Converted[Any]]
    known: str = field(default="never")

    @property
    def name(self) -> str:
        """The name of the test's case."""
        return f"{self.cls.reference.split()[0]}-{self.cls.__name__}"


def owner(one: Any) -> PartyId:  # noqa: ANN401 - of any class that has one
    """The party that an object says it belongs to."""
    return PartyId(one.country_code, one.party_id)


def location_of(session: v221.Session) -> v221.Location:
    """A Location that has the session's EVSE and connector, and others."""
    evse = an_evse()
    connector = replaced(evse.connectors[0], {"id": session.connector_id})
    evse = replaced(evse, {"uid": session.evse_uid, "connectors": [connector, *evse.connectors]})
    return replaced(a_location(), {"id": session.location_id, "evses": [evse, an_evse(uid="another")]})


def credentials_to_211(credentials: v221.Credentials) -> Converted[v211.Credentials]:
    """Convert the credentials of the first party of a platform, where there is one."""
    first = credentials.roles[0] if credentials.roles else None
    party, role = (owner(first), first.role) if first else (CPO, Role.CPO)
    return convert.credentials_to_211(credentials, party, role)


TO_221 = [
    Case(
        cls=v211.Location,
        there=lambda one: convert.location_to_221(one, CPO),
        back=lambda there, _: convert.location_to_211(there),
    ),
    Case(
        cls=v211.EVSE,
        there=convert.evse_to_221,
        back=lambda there, _: convert.evse_to_211(there),
    ),
    Case(
        cls=v211.Connector,
        there=convert.connector_to_221,
        back=lambda there, _: convert.connector_to_211(there),
    ),
    Case(
        cls=v211.BusinessDetails,
        there=convert.business_details_to_221,
        back=lambda there, _: convert.business_details_to_211(there),
    ),
    Case(
        cls=v211.Tariff,
        there=lambda one: convert.tariff_to_221(one, CPO),
        back=lambda there, one: convert.tariff_to_211(there, as_iop=one.party_id is not None),
    ),
    Case(
        cls=v211.Token,
        there=lambda one: convert.token_to_221(one, EMSP),
        back=lambda there, _: convert.token_to_211(there),
    ),
    Case(
        cls=v211.LocationReferences,
        there=convert.location_references_to_221,
        back=lambda there, _: convert.location_references_to_211(there),
    ),
    Case(
        cls=v211.AuthorizationInfo,
        there=lambda one: convert.authorization_info_to_221(one, a_token()),
        back=lambda there, _: convert.authorization_info_to_211(there),
        known="/token",
    ),
    Case(
        cls=v211.Session,
        there=lambda one: convert.session_to_221(one, CPO, token_owner=EMSP),
        back=lambda there, one: convert.session_to_211(
            there, convert.location_to_221(one.location, CPO).value
        ),
        known="/location|/cdr_token/.*",
    ),
    Case(
        cls=v211.CDR,
        there=lambda one: convert.cdr_to_221(one, CPO, token_owner=EMSP),
        back=lambda there, one: convert.cdr_to_211(
            there, location=convert.location_to_221(one.location, CPO).value
        ),
        known="/location/.*|/cdr_token/.*",
    ),
    Case(
        cls=v211.StartSession,
        there=lambda one: convert.start_session_to_221(one, EMSP),
        back=lambda there, _: convert.start_session_to_211(there),
    ),
    Case(
        cls=v211.StopSession,
        there=convert.stop_session_to_221,
        back=lambda there, _: convert.stop_session_to_211(there),
    ),
    Case(
        cls=v211.ReserveNow,
        there=lambda one: convert.reserve_now_to_221(one, EMSP),
        back=lambda there, _: convert.reserve_now_to_211(there),
    ),
    Case(
        cls=v211.UnlockConnector,
        there=convert.unlock_connector_to_221,
        back=lambda there, _: convert.unlock_connector_to_211(there),
    ),
    Case(
        cls=v211.CommandResponse,
        there=lambda one: convert.command_response_to_221(one, 30),
        back=lambda there, _: convert.command_response_to_211(there),
        known="/timeout",
    ),
    Case(
        cls=v211.Credentials,
        there=lambda one: convert.credentials_to_221(one, Role.CPO),
        back=lambda there, one: convert.credentials_to_211(there, owner(one), Role.CPO),
    ),
]

TO_211 = [
    Case(
        cls=v221.Location,
        there=convert.location_to_211,
        back=lambda there, one: convert.location_to_221(there, owner(one)),
    ),
    Case(
        cls=v221.EVSE,
        there=convert.evse_to_211,
        back=lambda there, _: convert.evse_to_221(there),
    ),
    Case(
        cls=v221.Connector,
        there=convert.connector_to_211,
        back=lambda there, _: convert.connector_to_221(there),
    ),
    Case(
        cls=v221.BusinessDetails,
        there=convert.business_details_to_211,
        back=lambda there, _: convert.business_details_to_221(there),
    ),
    Case(
        cls=v221.Tariff,
        there=convert.tariff_to_211,
        back=lambda there, one: convert.tariff_to_221(there, owner(one)),
    ),
    Case(
        cls=v221.Token,
        there=convert.token_to_211,
        back=lambda there, one: convert.token_to_221(there, owner(one)),
    ),
    Case(
        cls=v221.LocationReferences,
        there=convert.location_references_to_211,
        back=lambda there, _: convert.location_references_to_221(there),
    ),
    Case(
        cls=v221.AuthorizationInfo,
        there=convert.authorization_info_to_211,
        back=lambda there, one: convert.authorization_info_to_221(there, one.token),
        known="/token",
    ),
    Case(
        cls=v221.Session,
        there=lambda one: convert.session_to_211(one, location_of(one)),
        back=lambda there, one: convert.session_to_221(there, owner(one), token=one.cdr_token),
        known="/location|/cdr_token/.*",
    ),
    Case(
        cls=v221.CDR,
        there=convert.cdr_to_211,
        back=lambda there, one: convert.cdr_to_221(there, owner(one), token=one.cdr_token),
        known="/location/.*|/cdr_token/.*",
    ),
    Case(
        cls=v221.StartSession,
        there=convert.start_session_to_211,
        back=lambda there, one: convert.start_session_to_221(there, owner(one.token)),
    ),
    Case(
        cls=v221.StopSession,
        there=convert.stop_session_to_211,
        back=lambda there, _: convert.stop_session_to_221(there),
    ),
    Case(
        cls=v221.ReserveNow,
        there=convert.reserve_now_to_211,
        back=lambda there, one: convert.reserve_now_to_221(there, owner(one.token)),
    ),
    Case(
        cls=v221.UnlockConnector,
        there=convert.unlock_connector_to_211,
        back=lambda there, _: convert.unlock_connector_to_221(there),
    ),
    Case(
        cls=v221.CommandResponse,
        there=convert.command_response_to_211,
        back=lambda there, one: convert.command_response_to_221(there, one.timeout),
        known="/timeout",
    ),
    Case(
        cls=v221.CommandResult,
        there=convert.command_result_to_211,
        back=lambda there, _: convert.command_result_to_221(there),
    ),
    Case(
        cls=v221.Credentials,
        there=credentials_to_211,
        back=lambda there, one: convert.credentials_to_221(there, one.roles[0].role),
    ),
]

SIX_DECIMALS = {
    "latitude": st.from_regex(r"-?[0-9]{1,2}\.[0-9]{6}", fullmatch=True).filter(str.isascii),
    "longitude": st.from_regex(r"-?[0-9]{1,3}\.[0-9]{6}", fullmatch=True).filter(str.isascii),
}
UPRIGHT = Objects()
WILD = Objects(wild=True)


def one_of_each(shared: Objects, version: Any) -> SearchStrategy[list[Model]]:  # noqa: ANN401
    """One EVSE with one connector, as Sessions and CDRs have it."""
    connectors = st.lists(shared.of(version.Connector), min_size=1, max_size=1)
    evses = evolve(shared, given={**shared.given, version.EVSE: {"connectors": connectors}}).of(version.EVSE)
    return st.lists(evses, min_size=1, max_size=1)


def carriable_211() -> Objects:
    """2.1.1 objects that 2.2.1 can say in full."""
    return Objects(
        shared_with=v221,
        omit={
            v211.Tariff: frozenset({"restriction", "country_code", "party_id"}),
            v211.PriceComponent: frozenset({"price_round", "step_round", "exact_price_component"}),
            v211.LocationReferences: frozenset({"connector_ids"}),
        },
        given={
            v211.Location: {
                "type": st.sampled_from([one for one in v211.LocationType if one != v211.LocationType.OTHER]),
                "time_zone": st.just("Europe/Paris"),
            },
            v211.Credentials: {"token": st.text("abcdef-0123456789", min_size=1, max_size=64)},
            v211.Hours: {"twentyfourseven": st.booleans()},
            v211.TariffRestrictions: dict.fromkeys(("start_date", "end_date"), st.just("2026-11-01")),
        },
    )


def carriable_221() -> Objects:
    """2.2.1 objects that 2.1.1 can say in full."""
    parking = [v221.ParkingType.ON_STREET, v221.ParkingType.PARKING_LOT]
    return Objects(
        shared_with=v211,
        plain=frozenset({v221.Price, v221.CredentialsRole}),
        omit={
            v221.Location: frozenset({"state", "publish_allowed_to", "gireve_id"}),
            v221.CdrLocation: frozenset({"state"}),
            v221.EVSE: frozenset({"gireve_id"}),
            v221.Connector: frozenset({"max_electric_power", "gireve_id"}),
            v221.Tariff: frozenset(
                {
                    "type",
                    "min_price",
                    "max_price",
                    "start_date_time",
                    "end_date_time",
                    "gireve_id",
                    "target_operator_country_code",
                    "target_operator_party_id",
                }
            ),
            v221.PriceComponent: frozenset({"vat"}),
            v221.TariffRestrictions: frozenset({"min_current", "max_current", "reservation"}),
            v221.Token: frozenset({"group_id", "default_profile_type", "energy_contract"}),
            v221.ChargingPeriod: frozenset({"tariff_id"}),
            v221.Price: frozenset({"incl_vat"}),
            v221.CDR: frozenset(
                {
                    "session_id",
                    "total_fixed_cost",
                    "total_energy_cost",
                    "total_time_cost",
                    "total_parking_cost",
                    "total_reservation_cost",
                    "invoice_reference_id",
                    "credit",
                    "credit_reference_id",
                    "home_charging_compensation",
                }
            ),
            v221.StartSession: frozenset({"connector_id"}),
            v221.ReserveNow: frozenset({"authorization_reference"}),
            v221.CommandResponse: frozenset({"message"}),
            v221.CommandResult: frozenset({"message"}),
        },
        given={
            v221.GeoLocation: SIX_DECIMALS,
            v221.AdditionalGeoLocation: SIX_DECIMALS,
            v221.Location: {
                "publish": st.just(True),
                "postal_code": st.text("0123456789", max_size=5),
                "parking_type": st.none() | st.sampled_from(parking),
            },
            v221.CdrLocation: {"postal_code": st.text("0123456789", max_size=5)},
            v221.Connector: {"tariff_ids": st.lists(st.text("ABC", max_size=3), max_size=1)},
            v221.CommandResult: {
                "result": st.sampled_from([v221.CommandResultType.ACCEPTED, v221.CommandResultType.TIMEOUT])
            },
            v221.ReserveNow: {"reservation_id": st.integers(0, 10**9).map(str)},
        },
    )


CARRIABLE_211, CARRIABLE_221 = carriable_211(), carriable_221()
ALL = [pytest.param(case, id=case.name) for case in TO_221 + TO_211]

some = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def carriable(cls: type[Model]) -> SearchStrategy[Model]:
    """Objects of a class that the other version can say in full, but for what its class cannot."""
    is_211 = cls.reference.startswith("2.1.1")
    objects, version = (CARRIABLE_211, v211) if is_211 else (CARRIABLE_221, v221)
    if cls in (v211.Session, v211.CDR):
        place = {**objects.given[v211.Location], "evses": one_of_each(objects, version)}
        objects = evolve(objects, given={**objects.given, v211.Location: place})
    if cls is v221.Credentials:
        roles = st.lists(objects.of(v221.CredentialsRole), min_size=1, max_size=1)
        objects = evolve(objects, given={**objects.given, cls: {"roles": roles}})
    return objects.of(cls)


def at(pointer: str, document: Json) -> Json:
    """What a JSON pointer points to."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            document = document[int(name)]
        else:
            assert isinstance(document, Mapping)
            document = document[name]
    return document


@pytest.mark.parametrize("case", ALL)
@some
@given(data=st.data())
def test_lossless_is_reversible(case: Case, data: DataObject) -> None:
    """Where no loss is reported, the way back gives the same object, and every object on it is valid."""
    one = data.draw(UPRIGHT.of(case.cls))
    try:
        there = case.there(one)
        back = case.back(there.value, one)
    except NotConvertible:
        return
    if not there.losses:
        strictly(there.value)
        if not back.losses:
            assert strictly(back.value) == one


@pytest.mark.parametrize("case", ALL)
@some
@given(data=st.data())
def test_shared_is_carried(case: Case, data: DataObject) -> None:
    """What both versions can say goes there and back, and nothing else is reported."""
    one = data.draw(carriable(case.cls))
    there = case.there(one)
    back = case.back(there.value, one)
    assert back.value == one
    losses = [loss for loss in there.losses + back.losses if not re.fullmatch(case.known, loss.pointer)]
    assert losses == []


@pytest.mark.parametrize("case", ALL)
@some
@given(data=st.data())
def test_pointers(case: Case, data: DataObject) -> None:
    """Every loss points to something of the source, or of the result where it was assumed."""
    one = data.draw(UPRIGHT.of(case.cls))
    try:
        there = case.there(one)
    except NotConvertible:
        return
    source, result = to_json(one), to_json(there.value)
    for loss in there.losses:
        at(loss.pointer, result if loss.code == "assumed" else source)


@pytest.mark.parametrize("case", ALL)
@some
@given(data=st.data())
def test_partners_objects(case: Case, data: DataObject) -> None:
    """Whatever a partner sent is converted, or refused by name, and can be written and read again."""
    one = data.draw(WILD.of(case.cls))
    try:
        there = case.there(one)
    except NotConvertible:
        return
    result: Model = there.value
    assert decode(encode(result), type(result)) == result
