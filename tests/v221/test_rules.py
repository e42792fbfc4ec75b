from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ocpi_gireve import Patch, v221, validate
from ocpi_gireve._model import Model
from tests.census import exported
from tests.rule_cases import (
    CASES_IN_BOTH,
    MIXED,
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

EARLY = "2024-05-01T11:00:00Z"
MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)
UNKNOWN = "1970-01-01T00:00:00Z"
PARTY: Document = {"country_code": "FR", "party_id": "CPO"}
CONNECTOR: Document = {
    "id": "1",
    "standard": "IEC_62196_T2",
    "format": "SOCKET",
    "power_type": "AC_3_PHASE",
    "max_voltage": 230,
    "max_amperage": 32,
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
    **PARTY,
    "id": "L1",
    "publish": True,
    "address": "1 rue de la Gare",
    "city": "Besançon",
    "country": "FRA",
    "coordinates": SOUND_IN_BOTH["GeoLocation"],
    "evses": [EVSE],
    "time_zone": "Europe/Paris",
    "last_updated": NOON,
}
CDR_TOKEN: Document = {
    "country_code": "FR",
    "party_id": "EMS",
    "uid": "0123456789ABCD",
    "type": "RFID",
    "contract_id": "FR-EMS-C1",
}
TOKEN: Document = {
    **CDR_TOKEN,
    "issuer": "Example",
    "valid": True,
    "whitelist": "NEVER",
    "last_updated": NOON,
}
TARIFF: Document = {
    **PARTY,
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [SOUND_IN_BOTH["PriceComponent"]]}],
    "last_updated": NOON,
}
ROLE: Document = {**PARTY, "role": "CPO", "business_details": {"name": "Example"}}
HUB: Document = ROLE | {"role": "HUB", "party_id": "HUB"}
ENDPOINT: Document = {"identifier": "credentials", "role": "SENDER", "url": URL}
TOKENS: Document = {"identifier": "tokens", "role": "SENDER", "url": URL}
PROFILE: Document = {"charging_rate_unit": "A"}
CREDIT: Document = {"credit": True, "credit_reference_id": "C0", "total_cost": {"excl_vat": -1}}
SOUND: dict[str, Document] = {
    **SOUND_IN_BOTH,
    "ActiveChargingProfileResult": {"result": "REJECTED"},
    "AuthorizationInfo": {"allowed": "ALLOWED", "token": TOKEN},
    "CDR": {
        **PARTY,
        "id": "C1",
        "start_date_time": NOON,
        "end_date_time": ONE,
        "cdr_token": CDR_TOKEN,
        "auth_method": "WHITELIST",
        "cdr_location": {
            "id": "L1",
            "address": "1 rue de la Gare",
            "city": "Besançon",
            "country": "FRA",
            "coordinates": SOUND_IN_BOTH["GeoLocation"],
            "evse_uid": "E1",
            "evse_id": "FR*CPO*E1",
            "connector_id": "1",
            "connector_standard": "IEC_62196_T2",
            "connector_format": "SOCKET",
            "connector_power_type": "AC_3_PHASE",
        },
        "currency": "EUR",
        "charging_periods": [charging_period(NOON)],
        "total_cost": {"excl_vat": 1},
        "total_energy": 1,
        "total_time": 1,
        "last_updated": TWO,
    },
    "CdrToken": CDR_TOKEN,
    "ChargingPreferences": {"profile_type": "GREEN"},
    "ChargingProfile": PROFILE,
    "ChargingProfileResponse": {"result": "ACCEPTED", "timeout": 30},
    "ClientInfo": {**PARTY, "role": "CPO", "status": "CONNECTED", "last_updated": NOON},
    "CommandResponse": {"result": "ACCEPTED", "timeout": 30},
    "Connector": CONNECTOR,
    "Credentials": {"token": "a-token", "url": URL, "roles": [ROLE]},
    "CredentialsRole": ROLE,
    "EVSE": EVSE,
    "EnvironmentalImpact": {"category": "CARBON_DIOXIDE", "amount": 1},
    "Hours": {"twentyfourseven": True},
    "Location": LOCATION,
    "PublishTokenType": {"group_id": "G1"},
    "Session": {
        **PARTY,
        "id": "S1",
        "start_date_time": NOON,
        "kwh": 1,
        "cdr_token": CDR_TOKEN,
        "auth_method": "WHITELIST",
        "location_id": "L1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": TWO,
    },
    "StartSession": {"response_url": URL, "token": TOKEN, "location_id": "L1"},
    "Tariff": TARIFF,
    "Token": TOKEN,
    "VersionDetails": {"version": "2.2.1", "endpoints": [ENDPOINT]},
}
SOUND["CdrLocation"] = SOUND["CDR"]["cdr_location"]
HOURS = [SOUND["RegularHours"]]
FLAT, TIME, ENERGY = ({"type": kind, "price": 1, "step_size": 1} for kind in ("FLAT", "TIME", "ENERGY"))
RESERVED: Document = {"restrictions": {"reservation": "RESERVATION"}}
DONE: Document = {"status": "COMPLETED"}


def limits(*starts: int) -> Document:
    """Periods of a charging profile."""
    return {"charging_profile_period": [{"start_period": one, "limit": 8.1} for one in starts]}


def with_party(cls: str) -> tuple[Case, Case]:
    """The cases of a class that names a party."""
    return (
        Case(cls, {"country_code": "fr"}, {"country_code": "F"}, "/country_code", "country"),
        Case(cls, {"party_id": "A1b"}, {"party_id": "A-B"}, "/party_id", "party-id"),
    )


def in_cdr(kind: str, volume: float = 1) -> Document:
    """A charging period with one dimension."""
    return {"charging_periods": [charging_period(NOON, kind, volume)]}


BOOK = Rulebook(
    v221,
    SOUND,
    (
        *CASES_IN_BOTH,
        *(
            case
            for cls in (
                "CDR",
                "CdrToken",
                "ClientInfo",
                "CredentialsRole",
                "Location",
                "Session",
                "Tariff",
                "Token",
            )
            for case in with_party(cls)
        ),
        # locations
        Case("Connector", {"max_voltage": 0}, {"max_voltage": -230}, "/max_voltage", "negative"),
        Case("Connector", {"max_amperage": 0}, {"max_amperage": -32}, "/max_amperage", "negative"),
        Case(
            "Connector",
            {"max_electric_power": 0},
            {"max_electric_power": -1},
            "/max_electric_power",
            "negative",
        ),
        Case("EVSE", {"last_updated": ONE}, {"last_updated": EARLY}, "/last_updated", "last-updated"),
        Case(
            "EVSE",
            {"connectors": [CONNECTOR | {"id": "a"}, CONNECTOR | {"id": "b"}]},
            {"connectors": [CONNECTOR | {"id": "a"}, CONNECTOR | {"id": "A"}]},
            "/connectors/1/id",
            "duplicate",
        ),
        Case(
            "Location",
            {"evses": [EVSE, EVSE | {"uid": "E2"}]},
            {"evses": [EVSE, EVSE | {"uid": "e1"}]},
            "/evses/1/uid",
            "duplicate",
        ),
        Case("Location", {"last_updated": ONE}, {"last_updated": EARLY}, "/last_updated", "last-updated"),
        Case(
            "Location",
            {"publish": False, "publish_allowed_to": [{"group_id": "G1"}]},
            {"publish_allowed_to": [{"group_id": "G1"}]},
            "/publish_allowed_to",
            "unexpected",
        ),
        Case(
            "Hours",
            {"twentyfourseven": False, "regular_hours": HOURS},
            {"twentyfourseven": False},
            "/regular_hours",
            "missing",
        ),
        Case("PublishTokenType", {}, {"group_id": None, "type": "RFID"}, "", "missing"),
        Case("PublishTokenType", {"uid": "U1", "type": "RFID"}, {"uid": "U1"}, "/type", "missing"),
        Case(
            "PublishTokenType",
            {"visual_number": "N1", "issuer": "Example"},
            {"visual_number": "N1"},
            "/issuer",
            "missing",
        ),
        Case(
            "EnergyMix",
            {"is_green_energy": True, "environ_impact": [{"category": "CARBON_DIOXIDE", "amount": 0}]},
            {"is_green_energy": True, "environ_impact": [{"category": "CARBON_DIOXIDE", "amount": 372}]},
            "/is_green_energy",
            "contradiction",
        ),
        # tariffs
        Case(
            "Tariff",
            {"start_date_time": NOON, "end_date_time": ONE},
            {"start_date_time": NOON, "end_date_time": NOON},
            "/end_date_time",
            "order",
        ),
        Case(
            "Tariff",
            {"min_price": {"excl_vat": 1}, "max_price": {"excl_vat": 1}},
            {"min_price": {"excl_vat": 2}, "max_price": {"excl_vat": 1}},
            "/max_price/excl_vat",
            "order",
        ),
        Case(
            "Tariff",
            {"min_price": {"excl_vat": 1, "incl_vat": 1.2}, "max_price": {"excl_vat": 1, "incl_vat": 1.2}},
            {"min_price": {"excl_vat": 1, "incl_vat": 1.2}, "max_price": {"excl_vat": 1, "incl_vat": 1.1}},
            "/max_price/incl_vat",
            "order",
        ),
        Case(
            "TariffRestrictions",
            {"min_current": 5, "max_current": 5},
            {"min_current": 5, "max_current": 4},
            "/max_current",
            "order",
        ),
        Case("PriceComponent", {"vat": 0}, {"vat": -20}, "/vat", "negative"),
        Case(
            "TariffElement",
            {"price_components": [FLAT, TIME]},
            {"price_components": [FLAT, FLAT]},
            "/price_components/1/type",
            "duplicate",
        ),
        Case(
            "TariffElement",
            {"price_components": [FLAT, TIME]} | RESERVED,
            {"price_components": [FLAT, ENERGY]} | RESERVED,
            "/price_components/1/type",
            "dimension",
        ),
        # CDRs
        Case("CDR", {"end_date_time": NOON}, {"end_date_time": EARLY}, "/end_date_time", "order"),
        Case(
            "CDR",
            {"start_date_time": UNKNOWN},
            {"start_date_time": TWO, "charging_periods": [charging_period(TWO)]},
            "/end_date_time",
            "order",
        ),
        Case("CDR", {"total_time": 0}, {"total_time": -1}, "/total_time", "negative"),
        Case(
            "CDR",
            {"total_energy": -1} | in_cdr("ENERGY", -1),
            {"total_energy": -1},
            "/total_energy",
            "negative",
        ),
        *(
            Case(
                "CDR",
                in_cdr("MAX_POWER"),
                in_cdr(kind),
                "/charging_periods/0/dimensions/0/type",
                "session-only",
            )
            for kind in ("CURRENT", "ENERGY_EXPORT", "ENERGY_IMPORT", "POWER", "STATE_OF_CHARGE")
        ),
        Case(
            "CDR",
            {"tariffs": [TARIFF], "charging_periods": [charging_period(NOON) | {"tariff_id": "t1"}]},
            {"tariffs": [TARIFF], "charging_periods": [charging_period(NOON) | {"tariff_id": "T2"}]},
            "/charging_periods/0/tariff_id",
            "reference",
        ),
        Case("CDR", CREDIT, CREDIT | {"credit_reference_id": None}, "/credit_reference_id", "missing"),
        Case("CDR", {"credit": False}, {"credit_reference_id": "C0"}, "/credit_reference_id", "unexpected"),
        Case("CDR", CREDIT, CREDIT | {"credit_reference_id": "c1"}, "/id", "duplicate"),
        Case("CDR", CREDIT | {"id": "C" * 39}, {"id": "C" * 37}, "/id", "max-length"),
        Case("CDR", CREDIT, CREDIT | {"total_cost": {"excl_vat": 1}}, "/total_cost/excl_vat", "range"),
        Case(
            "CDR",
            CREDIT | {"total_cost": {"excl_vat": -1, "incl_vat": -1.2}},
            CREDIT | {"total_cost": {"excl_vat": -1, "incl_vat": 1.2}},
            "/total_cost/incl_vat",
            "range",
        ),
        Case("CdrLocation", {"country": "#NA"}, {"country": "FR"}, "/country", "country"),
        Case("CdrLocation", {"evse_id": "#NA"}, {"evse_id": "E1"}, "/evse_id", "evse-id"),
        Case(
            "CdrDimension",
            {"type": "CURRENT", "volume": -1},
            {"type": "ENERGY_EXPORT", "volume": -1},
            "/volume",
            "negative",
        ),
        Case(
            "CdrDimension",
            {"type": "STATE_OF_CHARGE", "volume": 100},
            {"type": "STATE_OF_CHARGE", "volume": 101},
            "/volume",
            "range",
        ),
        # sessions
        Case(
            "Session",
            DONE | {"end_date_time": NOON},
            DONE | {"end_date_time": EARLY},
            "/end_date_time",
            "order",
        ),
        Case("Session", DONE | {"end_date_time": ONE}, DONE, "/end_date_time", "missing"),
        Case(
            "Session",
            {"status": "INVALID", "end_date_time": ONE},
            {"status": "RESERVATION", "end_date_time": ONE},
            "/end_date_time",
            "unexpected",
        ),
        Case("ChargingPreferences", {"energy_need": 0}, {"energy_need": -1}, "/energy_need", "negative"),
        # commands and charging profiles
        Case("CommandResponse", {"timeout": 0}, {"timeout": -1}, "/timeout", "negative"),
        Case(
            "StartSession",
            {"evse_uid": "E1", "connector_id": "1"},
            {"connector_id": "1"},
            "/evse_uid",
            "missing",
        ),
        Case("ChargingProfileResponse", {"timeout": 0}, {"timeout": -1}, "/timeout", "negative"),
        Case("ChargingProfile", {"duration": 0}, {"duration": -1}, "/duration", "negative"),
        Case(
            "ChargingProfile",
            limits(0, 60),
            limits(1, 60),
            "/charging_profile_period/0/start_period",
            "order",
        ),
        Case(
            "ChargingProfile",
            limits(0, 60, 61),
            limits(0, 60, 60),
            "/charging_profile_period/2/start_period",
            "order",
        ),
        Case(
            "ChargingProfile",
            limits(0, 60) | {"duration": 61},
            limits(0, 60) | {"duration": 59},
            "/charging_profile_period/1/start_period",
            "order",
        ),
        Case(
            "ChargingProfile",
            {"min_charging_rate": 8.1},
            {"min_charging_rate": 8.12},
            "/min_charging_rate",
            "decimals",
        ),
        Case(
            "ActiveChargingProfileResult",
            {"result": "ACCEPTED", "profile": {"start_date_time": NOON, "charging_profile": PROFILE}},
            {"result": "ACCEPTED"},
            "/profile",
            "missing",
        ),
        Case(
            "ActiveChargingProfileResult",
            {},
            {"profile": {"start_date_time": NOON, "charging_profile": PROFILE}},
            "/profile",
            "unexpected",
        ),
        # credentials and versions
        Case(
            "Credentials",
            {"roles": [ROLE, ROLE | {"role": "EMSP"}]},
            {"roles": [ROLE, ROLE | {"party_id": "cpo"}]},
            "/roles/1",
            "duplicate",
        ),
        Case("Credentials", {"roles": [HUB]}, {"roles": [HUB, ROLE]}, "/roles/1/role", "contradiction"),
        Case(
            "VersionDetails",
            {"endpoints": [ENDPOINT, TOKENS, TOKENS | {"role": "RECEIVER"}]},
            {"endpoints": [ENDPOINT, TOKENS, TOKENS]},
            "/endpoints/2",
            "duplicate",
        ),
        Case(
            "VersionDetails",
            {},
            {"endpoints": [ENDPOINT, ENDPOINT | {"role": "RECEIVER"}]},
            "/endpoints/1",
            "duplicate",
        ),
        Case("VersionDetails", {}, {"endpoints": [TOKENS]}, "/endpoints", "missing"),
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


def test_energy_is_whole_up_to_rounding() -> None:
    """Shares may miss 100 by what rounding took, and are not asked for where there are none."""
    mix = v221.EnergyMix(is_green_energy=False)
    assert validate(mix) == []
    assert (
        validate(
            v221.decode(
                json.dumps({"is_green_energy": False, "energy_sources": MIXED}).encode(), v221.EnergyMix
            )
        )
        == []
    )


def test_patch_needs_last_updated() -> None:
    """In three chapters, "any request to the PATCH method SHALL contain the last_updated field"."""
    for cls in (v221.Location, v221.EVSE, v221.Connector, v221.Session, v221.Token):
        problems = validate(Patch[Model](cls, {}))
        assert [(one.pointer, one.code) for one in problems] == [("/last_updated", "missing")]
        assert validate(Patch[Model](cls, {"last_updated": MOMENT})) == []
    needing = [cls for cls in exported(v221, Model) if validate(Patch[Model](cls, {}))]
    assert len(needing) == 5


def test_patch_is_checked_as_far_as_it_goes() -> None:
    """A rule holds for a PATCH that carries all its fields, and for no other."""
    ended = {"status": v221.SessionStatus.COMPLETED, "last_updated": MOMENT}
    assert validate(Patch(v221.Session, ended)) == []
    both = validate(Patch(v221.Session, {**ended, "end_date_time": None}))
    assert [(one.pointer, one.code) for one in both] == [("/end_date_time", "missing")]
    hours = v221.Hours(twentyfourseven=False)
    nested = validate(Patch(v221.Location, {"opening_times": hours, "last_updated": MOMENT}))
    assert [(one.pointer, one.code) for one in nested] == [("/opening_times/regular_hours", "missing")]


def test_patch_of_a_partner() -> None:
    """What a partner's PATCH takes away or leaves empty against the table is reported."""
    changes: dict[str, object] = {
        "uid": None,
        "connectors": [],
        "evse_id": "x\n",
        "images": None,
        "last_updated": MOMENT,
    }
    problems = validate(Patch[v221.EVSE].received(v221.EVSE, changes, {}))
    assert [(one.pointer, one.code) for one in problems] == [
        ("/uid", "missing"),
        ("/evse_id", "charset"),
        ("/connectors", "empty"),
        ("/evse_id", "evse-id"),
    ]


def test_feeding_in() -> None:
    """A session that gives energy to the grid has negative energy, in all places that the text allows."""
    book = BOOK.make("Session", {"kwh": -1} | in_cdr("ENERGY", -1))
    assert validate(book) == []
    assert validate(v221.CdrDimension(type=v221.CdrDimensionType.MIN_POWER, volume=Decimal(-3))) == []
