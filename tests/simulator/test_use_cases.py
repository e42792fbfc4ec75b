from __future__ import annotations

from ocpi_gireve import v221
from ocpi_gireve.journal import Exchanged
from ocpi_gireve.simulator.use_cases import direction_of, use_case_of


def test_every_operation_has_a_use_case() -> None:
    """Every operation belongs to a use case, but for those of which GIREVE has none."""
    unnamed = {one.id for one in v221.DIALECT.all_operations() if use_case_of(one.id) == one.id}
    assert unnamed == {
        "TokensReceiver.get_token",
        "ChargingProfilesReceiver.get_active_charging_profile",
        "ChargingProfilesReceiver.put_charging_profile",
        "ChargingProfilesReceiver.delete_charging_profile",
        "ChargingProfilesSender.post_profile_result",
        "ChargingProfilesSender.put_active_charging_profile",
        "HubClientInfoReceiver.get_client_info",
    }


def test_names() -> None:
    """The names are GIREVE's."""
    found = [
        use_case_of(f"{interface}.{name}")
        for interface, name in (
            ("LocationsReceiver", "patch_evse"),
            ("LocationsSender", "list_locations"),
            ("LocationsSender", "get_evse"),
            ("SessionsReceiver", "patch_session"),
            ("CommandsSender", "post_result"),
            ("TariffsReceiver", "delete_tariff"),
            ("TokensSender", "authorize"),
            ("CredentialsInterface", "post_credentials"),
            ("VersionsInterface", "get_versions"),
            ("CredentialsInterface", "delete_credentials"),
        )
    ]
    assert found == [
        "Push EVSE status",
        "Pull EVCI",
        "Pull EVCI",
        "Push Sessions",
        "Remote start and stop: result",
        "Delete Tariffs",
        "Real-Time Authorization",
        "Register",
        "Register",
        "Unregister",
    ]


def test_unknown_operation() -> None:
    """What GIREVE has no name for keeps its own."""
    assert use_case_of("Other.thing") == "Other.thing"


def test_direction() -> None:
    """What is asked of IOP is ToIOP, what IOP asks is FromIOP."""

    def asked(partner: str) -> str:
        exchanged = Exchanged(
            direction="out",
            partner=partner,
            operation="",
            http_status=200,
            seconds=0.1,
            request_id="r",
            correlation_id="c",
        )
        return direction_of(exchanged)

    assert (asked("iop"), asked("cpo")) == ("ToIOP", "FromIOP")
