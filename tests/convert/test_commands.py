from __future__ import annotations

import pytest
from attrs import evolve

from ocpi_gireve import convert, v211, v221
from ocpi_gireve.convert import NotConvertible
from tests.convert.samples import EMSP, TOKEN, lost, with_
from tests.support import NOW, a_token

URL = "https://emsp.example.com/commands/START_SESSION/1"
START = v211.StartSession(
    response_url=URL, token=TOKEN, location_id="LOC1", evse_uid="E1", authorization_id="AUTH1"
)
RESERVE = v211.ReserveNow(
    response_url=URL, token=TOKEN, expiry_date=NOW, reservation_id=-7, location_id="LOC1"
)


def test_start_session() -> None:
    """START_SESSION carries the eMSP's Token and its authorization; 2.1.1 cannot name the connector."""
    there = convert.start_session_to_221(START)
    assert there.value == v221.StartSession(
        response_url=URL,
        token=a_token(),
        location_id="LOC1",
        evse_uid="E1",
        authorization_reference="AUTH1",
    )
    assert there.losses == ()
    back = convert.start_session_to_211(evolve(there.value, connector_id="1"))
    assert back.value == START
    assert lost(back) == [("/connector_id", "no-field")]


def test_token_owner() -> None:
    """A command whose token is nobody's is refused, unless the caller says whose it is."""
    command = evolve(START, token=evolve(TOKEN, auth_id="AZERTY"))
    assert convert.start_session_to_221(command, EMSP).value.token.party_id == "EMP"
    with pytest.raises(NotConvertible, match="StartSession not converted: /token/country_code"):
        convert.start_session_to_221(command)


def test_reserve_now() -> None:
    """A reservation's number is a text in 2.2.1."""
    there = convert.reserve_now_to_221(RESERVE, EMSP)
    assert there.value.reservation_id == "-7"
    assert there.losses == ()
    back = convert.reserve_now_to_211(evolve(there.value, authorization_reference="AUTH1"))
    assert back.value == RESERVE
    assert lost(back) == [("/authorization_reference", "no-field")]


@pytest.mark.parametrize("reservation", ["R1", "07", "-0", "", "٧"])
def test_reservation_that_is_no_number(reservation: str) -> None:
    """A reservation whose id is not a number, written as one writes it, has no 2.1.1 form."""
    command = convert.reserve_now_to_221(RESERVE, EMSP).value
    with pytest.raises(NotConvertible, match="ReserveNow not converted: /reservation_id"):
        convert.reserve_now_to_211(with_(command, {"reservation_id": reservation}))


def test_stop_session_and_unlock_connector() -> None:
    """The other commands are the same in both versions."""
    stop = v211.StopSession(response_url=URL, session_id="S1")
    there = convert.stop_session_to_221(stop)
    assert there.value == v221.StopSession(response_url=URL, session_id="S1")
    assert convert.stop_session_to_211(there.value).value == stop
    unlock = v211.UnlockConnector(response_url=URL, location_id="L", evse_uid="E", connector_id="1")
    other = convert.unlock_connector_to_221(unlock)
    assert other.value == v221.UnlockConnector(
        response_url=URL, location_id="L", evse_uid="E", connector_id="1"
    )
    assert convert.unlock_connector_to_211(other.value).value == unlock


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("ACCEPTED", "ACCEPTED"),
        ("UNKNOWN_SESSION", "UNKNOWN_SESSION"),
        ("TIMEOUT", "REJECTED"),
    ],
)
def test_response_to_221(said: str, heard: str) -> None:
    """An immediate answer says how long to wait, and knows no TIMEOUT."""
    response = v211.CommandResponse(result=v211.CommandResponseType(said))
    there = convert.command_response_to_221(response, 30)
    assert there.value == v221.CommandResponse(result=v221.CommandResponseType(heard), timeout=30)
    assert lost(there)[-1] == ("/timeout", "assumed")
    assert (("/result", "replaced") in lost(there)) is (said != heard)


@pytest.mark.parametrize(
    ("said", "heard"),
    [("ACCEPTED", "ACCEPTED"), ("TIMEOUT", "TIMEOUT"), ("UNKNOWN_SESSION", "REJECTED")],
)
def test_result_to_221(said: str, heard: str) -> None:
    """The outcome of a command, a CommandResponse too in 2.1.1, becomes a CommandResult."""
    there = convert.command_result_to_221(v211.CommandResponse(result=v211.CommandResponseType(said)))
    assert there.value == v221.CommandResult(result=v221.CommandResultType(heard))
    assert lost(there) == ([] if said == heard else [("/result", "replaced")])


@pytest.mark.parametrize("said", list(v221.CommandResultType))
def test_result_to_211(said: v221.CommandResultType) -> None:
    """What went wrong at the charge point is `REJECTED` in 2.1.1, unless it has the word."""
    message = [v221.DisplayText(language="en", text="Cable not plugged in")]
    back = convert.command_result_to_211(v221.CommandResult(result=said, message=message))
    same = said in ("ACCEPTED", "NOT_SUPPORTED", "REJECTED", "TIMEOUT")
    assert back.value.result == (said if same else "REJECTED")
    assert lost(back)[-1] == ("/message", "no-field")
    assert len(back.losses) == (1 if same else 2)


def test_response_to_211() -> None:
    """An immediate answer loses the time to wait."""
    response = v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=30)
    back = convert.command_response_to_211(response)
    assert back.value == v211.CommandResponse(result=v211.CommandResponseType.ACCEPTED)
    assert lost(back) == [("/timeout", "no-field")]
