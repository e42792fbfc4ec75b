from __future__ import annotations

import json

import pytest

from ocpi_gireve import Patch, v211, validate
from tests.rule_cases import (
    CASES_IN_BOTH,
    NOON,
    ONE,
    SOUND_IN_BOTH,
    TWO,
    URL,
    Case,
    Document,
    Rulebook,
    charging_period,
)

CONNECTOR: Document = {
    "id": "1",
    "standard": "IEC_62196_T2",
    "format": "SOCKET",
    "power_type": "AC_3_PHASE",
    "voltage": 230,
    "amperage": 32,
    "last_updated": NOON,
}
EVSE: Document = {
    "uid": "E1",
    "evse_id": "FR*CPO*E1",
    "status": "AVAILABLE",
    "connectors": [CONNECTOR],
    "last_updated": NOON,
}
LOCATION: Document = {
    "id": "L1",
    "type": "ON_STREET",
    "address": "1 rue de la Gare",
    "city": "Lyon",
    "postal_code": "69002",
    "country": "FRA",
    "coordinates": SOUND_IN_BOTH["GeoLocation"],
    "evses": [EVSE],
    "last_updated": NOON,
}
TARIFF: Document = {
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [SOUND_IN_BOTH["PriceComponent"]]}],
    "last_updated": NOON,
}
SOUND: dict[str, Document] = {
    **SOUND_IN_BOTH,
    "AuthorizationInfo": {"allowed": "ALLOWED"},
    "CDR": {
        "id": "C1",
        "start_date_time": NOON,
        "stop_date_time": ONE,
        "auth_id": "FR-EMS-C1",
        "auth_method": "WHITELIST",
        "location": LOCATION,
        "currency": "EUR",
        "charging_periods": [charging_period(NOON)],
        "total_cost": 1,
        "total_energy": 1,
        "total_time": 1,
        "last_updated": TWO,
    },
    "Connector": CONNECTOR,
    "Credentials": {
        "token": "a-token",
        "url": URL,
        "business_details": {"name": "Example"},
        "party_id": "CPO",
        "country_code": "FR",
    },
    "EVSE": EVSE,
    "EnvironmentalImpact": {"source": "CARBON_DIOXIDE", "amount": 1},
    "Hours": {"twentyfourseven": True},
    "LocationReferences": {"location_id": "L1"},
    "Location": LOCATION,
    "Session": {
        "id": "S1",
        "start_datetime": NOON,
        "kwh": 1,
        "auth_id": "FR-EMS-C1",
        "auth_method": "WHITELIST",
        "location": LOCATION,
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": TWO,
    },
    "Tariff": TARIFF,
    "Token": {
        "uid": "0123456789ABCD",
        "type": "RFID",
        "auth_id": "FR-EMS-C1",
        "issuer": "Example",
        "valid": True,
        "whitelist": "NEVER",
        "last_updated": NOON,
    },
    "VersionDetails": {"version": "2.1.1", "endpoints": [{"identifier": "credentials", "url": URL}]},
}
HOURS = [SOUND["RegularHours"]]
CREDENTIALS, TOKENS = ({"identifier": name, "url": URL} for name in ("credentials", "tokens"))
DONE: Document = {"status": "COMPLETED"}

BOOK = Rulebook(
    v211,
    SOUND,
    (
        *CASES_IN_BOTH,
        Case("Connector", {"voltage": 0}, {"voltage": -230}, "/voltage", "negative"),
        Case("Connector", {"amperage": 0}, {"amperage": -32}, "/amperage", "negative"),
        Case(
            "EVSE",
            {"last_updated": NOON},
            {"last_updated": "2024-05-01T11:00:00Z"},
            "/last_updated",
            "last-updated",
        ),
        Case(
            "EVSE",
            {"connectors": [CONNECTOR | {"id": "a"}, CONNECTOR | {"id": "A"}]},
            {"connectors": [CONNECTOR | {"id": "a"}, CONNECTOR | {"id": "a"}]},
            "/connectors/1/id",
            "duplicate",
        ),
        Case(
            "Location",
            {"evses": [EVSE, EVSE | {"uid": "e1"}]},
            {"evses": [EVSE, EVSE | {"uid": "E2"}, EVSE]},
            "/evses/2/uid",
            "duplicate",
        ),
        Case(
            "Location",
            {"last_updated": ONE},
            {"last_updated": "2024-05-01T11:59:59Z"},
            "/last_updated",
            "last-updated",
        ),
        Case(
            "Hours",
            {"twentyfourseven": None, "regular_hours": HOURS},
            {"twentyfourseven": None},
            "",
            "missing",
        ),
        Case("TariffRestrictions", {"min_power": 0}, {"min_power": -1}, "/min_power", "negative"),
        Case("TariffRestrictions", {"max_power": 0}, {"max_power": -1}, "/max_power", "negative"),
        Case(
            "CDR",
            {"stop_date_time": NOON},
            {"stop_date_time": "2024-05-01T11:00:00Z"},
            "/stop_date_time",
            "order",
        ),
        Case("CDR", {"total_time": 0}, {"total_time": -1}, "/total_time", "negative"),
        Case("CDR", {}, {"location": LOCATION | {"evses": []}}, "/location/evses", "range"),
        Case(
            "CDR",
            {},
            {"location": LOCATION | {"evses": [EVSE | {"connectors": [CONNECTOR, CONNECTOR | {"id": "2"}]}]}},
            "/location/evses/0/connectors",
            "range",
        ),
        Case(
            "Session",
            {"end_datetime": NOON} | DONE,
            {"end_datetime": "2024-05-01T11:00:00Z"} | DONE,
            "/end_datetime",
            "order",
        ),
        Case("Session", {"end_datetime": ONE} | DONE, DONE, "/end_datetime", "missing"),
        Case("Session", {}, {"end_datetime": ONE}, "/end_datetime", "unexpected"),
        Case(
            "Session",
            {},
            {"location": LOCATION | {"evses": [EVSE, EVSE | {"uid": "E2"}]}},
            "/location/evses",
            "range",
        ),
        Case(
            "LocationReferences",
            {"evse_uids": ["E1"], "connector_ids": ["1"]},
            {"connector_ids": ["1"]},
            "/evse_uids",
            "missing",
        ),
        Case("Credentials", {"country_code": "fr"}, {"country_code": "F1"}, "/country_code", "country"),
        Case("Credentials", {"party_id": "A1b"}, {"party_id": "A*B"}, "/party_id", "party-id"),
        Case(
            "VersionDetails",
            {"endpoints": [CREDENTIALS, TOKENS]},
            {"endpoints": [TOKENS]},
            "/endpoints",
            "missing",
        ),
        Case(
            "VersionDetails",
            {},
            {"endpoints": [CREDENTIALS, TOKENS, TOKENS]},
            "/endpoints/2/identifier",
            "duplicate",
        ),
    ),
)


@pytest.mark.parametrize("case", BOOK.cases, ids=[case.id for case in BOOK.cases])
def test_rule(case: Case) -> None:
    """One document keeps the rule, the other breaks it and no other."""
    BOOK.check(case)


def test_every_rule_is_tried() -> None:
    """No rule of this version is without a document that breaks it."""
    assert BOOK.untried() == []


def test_rules_declare_what_they_read() -> None:
    """A rule reads the fields it names and no other, so that a PATCH can be checked."""
    assert BOOK.overreaching() == []


def test_ascii_only() -> None:
    """The text of 2.1.1 allows ASCII alone; what we build may have accents all the same."""
    hotel = v211.BusinessDetails(name="Hôtel de la Gare")
    assert [(one.pointer, one.code) for one in validate(hotel)] == [("/name", "ascii")]
    assert validate(v211.BusinessDetails(name="Hotel de la Gare")) == []


def test_either_of_a_choice() -> None:
    """Hours carry weekly hours, or the flag, or both: each is read, and is built."""
    for text in (
        '{"twentyfourseven":true}',
        '{"regular_hours":[%s]}',
        '{"twentyfourseven":false,"regular_hours":[%s]}',
    ):
        document = text.replace("%s", json.dumps(HOURS[0])).encode()
        hours = v211.decode(document, v211.Hours)
        assert json.loads(v211.encode(hours)) == json.loads(document)
        assert validate(hours) == []
    assert v211.Hours(twentyfourseven=True).regular_hours == []
    weekly = v211.RegularHours(weekday=1, period_begin="08:00", period_end="20:00")
    assert v211.Hours(regular_hours=[weekly]).twentyfourseven is None


def test_no_not_available() -> None:
    """#NA is of 2.2: in 2.1.1 it is a text like others."""
    place = v211.decode(b'{"latitude":"#NA","longitude":"9.190060"}', v211.GeoLocation)
    assert [(one.pointer, one.code) for one in validate(place)] == [("/latitude", "regex")]


def test_patch_without_last_updated() -> None:
    """2.1.1 does not ask a PATCH for `last_updated`."""
    assert validate(Patch(v211.Location, {"name": "Gare"})) == []
