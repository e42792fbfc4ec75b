"""What the objects of OCPI say of a made-up charge, by the name of their class; knows no version's classes.

Names and structure are those of both versions at once: a class takes the facts that it has fields for.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from attrs import frozen

from ..types import format_datetime
from ._story import TICK, VAT, Badge, Dice, Plug, Site, Station, Story, Stretch, fixed, local_time


@frozen
class Either:
    """A value of an enum, and what stands for it in a version that does not know it."""

    value: str
    instead: str


@frozen
class Money:
    """An amount in hundredths of a cent without VAT: a `Price`, or its number without VAT."""

    amount: int


@frozen
class AddedByIop:
    """A value that is its owner's to give where OCPI defines the field, and IOP's where GIREVE added it."""

    value: str


_Plain: TypeAlias = bool | int | str | Decimal | datetime | None
Fact: TypeAlias = "_Plain | AddedByIop | Either | Money | Mapping[str, Fact] | Sequence[Fact]"
Facts: TypeAlias = "Mapping[str, Fact]"


@frozen
class Scene:
    """A charge as one version of OCPI tells it, between two parties.

    Attributes:
        version: The number of the version, for the objects that name it.
    """

    story: Story
    version: str
    cpo: tuple[str, str]
    emsp: tuple[str, str]


_SITE = "https://www.example.com"
_HASH = hashlib.sha256


# --- small things ----------------------------------------------------------------------------------------


def _text(language: str, text: str) -> Facts:
    return {"language": language, "text": text}


def _texts(french: str, english: str) -> list[Fact]:
    return [_text("fr", french), _text("en", english)]


def _position(latitude: int, longitude: int) -> dict[str, Fact]:
    """Write millionths of a degree as OCPI does."""
    return {"latitude": _degrees(latitude), "longitude": _degrees(longitude)}


def _degrees(millionths: int) -> str:
    whole, part = divmod(abs(millionths), 1_000_000)
    return f"{'-' if millionths < 0 else ''}{whole}.{part:06d}"


def _image(name: str, category: str) -> Facts:
    return {
        "url": f"{_SITE}/images/{name}.jpeg",
        "thumbnail": f"{_SITE}/images/{name}-small.jpeg",
        "category": category,
        "type": "jpeg",
        "width": 1200,
        "height": 800,
    }


def _company(party: tuple[str, str], kind: str) -> Facts:
    name = f"{kind} {party[0]}*{party[1]}"
    return {"name": name, "website": _SITE, "logo": _image(f"logo-{party[1].lower()}", "OPERATOR")}


def price(money: Money) -> Facts:
    """Describe an amount without and with VAT."""
    return {"excl_vat": fixed(money.amount, 4), "incl_vat": fixed(money.amount * (100 + VAT) // 100, 4)}


def _period(begin: datetime, end: datetime) -> Facts:
    return {"period_begin": begin, "period_end": end}


def _energy_mix(scene: Scene) -> Facts:
    dice = scene.story.dice("energy mix")
    if dice.happens(40):
        water = 5 * dice.between(2, 18)
        sources = {"WATER": water, "WIND": 100 - water}
    else:
        nuclear, gas = 5 * dice.between(8, 14), 5 * dice.between(0, 2)
        sources = {"NUCLEAR": nuclear, "WATER": 100 - nuclear - gas, "GAS": gas}
    green = not sources.keys() & {"NUCLEAR", "GAS"}
    carbon = fixed(sources.get("GAS", 0) * 42, 1)
    waste = fixed(sources.get("NUCLEAR", 0) * 3, 4)
    return {
        "is_green_energy": green,
        "energy_sources": [
            {"source": source, "percentage": percentage}
            for source, percentage in sources.items()
            if percentage
        ],
        "environ_impact": [
            {"source": kind, "category": kind, "amount": amount}
            for kind, amount in (("CARBON_DIOXIDE", carbon), ("NUCLEAR_WASTE", waste))
        ],
        "supplier_name": "Fournisseur Exemple",
        "energy_product_name": "Offre 100 % renouvelable" if green else "Offre standard",
    }


# --- locations -------------------------------------------------------------------------------------------


def _gireve_id(scene: Scene, *parts: object) -> str | None:
    """Return an id of IOP's own, on objects that IOP passes on."""
    if not scene.story.passed_on:
        return None
    return str(int.from_bytes(_HASH(repr(parts).encode()).digest()[:4], "big"))


def _connector(scene: Scene, station: Station, index: int) -> Facts:
    plug: Plug = station.plugs[index]
    tariff = scene.story.tariff.id
    return {
        "id": str(index + 1),
        "standard": plug.standard,
        "format": plug.format,
        "power_type": plug.power_type,
        "voltage": plug.voltage,
        "amperage": plug.amperage,
        "max_voltage": plug.voltage,
        "max_amperage": plug.amperage,
        "max_electric_power": plug.limit,
        "tariff_id": tariff,
        "tariff_ids": [tariff],
        "terms_and_conditions": f"{_SITE}/conditions",
        "last_updated": station.installed,
        "gireve_id": _gireve_id(scene, station.evse_id, index),
    }


def _evse(scene: Scene, station: Station, plugs: Sequence[int]) -> Facts:
    site, dice = scene.story.site, scene.story.dice(f"station {station.number}")
    capabilities: list[Fact] = ["RFID_READER", "REMOTE_START_STOP_CAPABLE"]
    capabilities += dice.some(("RESERVABLE", "UNLOCK_CAPABLE", "CONTACTLESS_CARD_SUPPORT"), 30)
    if len(station.plugs) > 1:
        capabilities.append("START_SESSION_CONNECTOR_REQUIRED")
    work = station.changed.replace(microsecond=0) + timedelta(days=dice.between(2, 9))
    schedule: list[Fact] = [{**_period(work, work + 20 * TICK), "status": "INOPERATIVE"}]
    detailed = dice.happens(50)
    return {
        "uid": station.uid,
        "evse_id": station.evse_id,
        "status": station.status,
        "status_schedule": schedule if dice.happens(20) else [],
        "capabilities": capabilities,
        "connectors": [_connector(scene, station, index) for index in plugs],
        "floor_level": "-1" if site.kind.type == "UNDERGROUND_GARAGE" else None,
        "coordinates": _position(site.latitude + 10 * station.number, site.longitude) if detailed else None,
        "physical_reference": str(station.number),
        "directions": _texts("Au fond du parking, à droite", "At the end of the car park, on the right")
        if detailed and site.kind.type != "ON_STREET"
        else [],
        "parking_restrictions": ["EV_ONLY", *dice.some(("PLUGGED", "CUSTOMERS"), 30)],
        "images": [_image(f"{site.id.lower()}-{station.number}", "CHARGER")] if detailed else [],
        "last_updated": station.changed,
        "gireve_id": _gireve_id(scene, station.evse_id),
    }


def _hours(site: Site, dice: Dice) -> Facts:
    # Days of the public, in UTC: France is one hour ahead in winter.
    christmas = datetime(2025, 12, 24, 23, tzinfo=UTC)
    sunday = datetime(2025, 12, 21, 8, tzinfo=UTC)
    if not site.kind.hours:
        closed = [_period(christmas, christmas + timedelta(days=1))] if dice.happens(10) else []
        return {"twentyfourseven": True, "exceptional_closings": closed}
    return {
        "twentyfourseven": False,
        "regular_hours": [
            {"weekday": weekday, "period_begin": hours[0], "period_end": hours[1]}
            for weekday, hours in enumerate(site.kind.hours, start=1)
            if hours is not None
        ],
        "exceptional_openings": [_period(sunday, sunday + timedelta(hours=9))] if dice.happens(40) else [],
        "exceptional_closings": [_period(christmas, christmas + timedelta(days=1))]
        if dice.happens(60)
        else [],
    }


def _address(site: Site) -> dict[str, Fact]:
    return {
        "name": site.name,
        "address": site.address,
        "city": site.town.name,
        "postal_code": site.town.postal_code,
        "country": "FRA",
        "coordinates": _position(site.latitude, site.longitude),
    }


def _location(scene: Scene, evses: Sequence[Fact]) -> Facts:
    story = scene.story
    site, dice = story.site, story.dice("location")
    operator = _company(scene.cpo, "Opérateur")
    public = dice.happens(90)
    name = site.id.lower()
    entrance = {
        **_position(site.latitude + 120, site.longitude - 90),
        "name": _text("fr", "Entrée du parking"),
    }
    in_car_park = site.kind.type != "ON_STREET"
    return {
        "country_code": scene.cpo[0],
        "party_id": scene.cpo[1],
        "id": site.id,
        "type": site.kind.type,
        "publish": public,
        "publish_allowed_to": [] if public else [_publish_token_type(scene)],
        **_address(site),
        "state": site.town.region if dice.happens(50) else None,
        "related_locations": [entrance] if in_car_park and dice.happens(30) else [],
        "parking_type": site.kind.parking,
        "evses": evses,
        "directions": _texts("Suivre les panneaux bleus", "Follow the blue signs")
        if dice.happens(30)
        else [],
        "operator": operator,
        "suboperator": _company(scene.cpo, "Exploitant") if dice.happens(15) else None,
        "owner": {"name": f"Ville de {site.town.name}"} if not in_car_park else operator,
        "facilities": site.kind.facilities,
        "time_zone": "Europe/Paris",
        "opening_times": _hours(site, dice),
        "charging_when_closed": True if site.kind.hours else None,
        "images": [_image(name, "LOCATION"), _image(f"{name}-entrance", "ENTRANCE")]
        if dice.happens(40)
        else [],
        "energy_mix": _energy_mix(scene) if dice.happens(40) else None,
        "last_updated": site.changed,
        "gireve_id": _gireve_id(scene, site.id),
    }


def _whole_location(scene: Scene) -> Facts:
    stations = scene.story.site.stations
    return _location(scene, [_evse(scene, one, range(len(one.plugs))) for one in stations])


def _used_location(scene: Scene) -> Facts:
    """Describe the location as a Session and a CDR of 2.1.1 show it: with the EVSE and connector used."""
    story = scene.story
    return _location(scene, [_evse(scene, story.station, [story.station.plugs.index(story.plug)])])


def _publish_token_type(scene: Scene) -> Facts:
    badge = scene.story.badge
    return {
        "uid": badge.uid,
        "type": badge.type,
        "visual_number": badge.printed,
        "issuer": None if badge.printed is None else _issuer(scene),
        "group_id": _group(scene),
    }


# --- tariffs ---------------------------------------------------------------------------------------------

_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_STEPS = {"ENERGY": 1, "FLAT": 1, "TIME": 60, "PARKING_TIME": 60}
"""Billing steps, in Wh and seconds, that divide whatever a charge of ours may have used."""


def _rounding(granularity: str) -> Facts:
    return {"round_granularity": granularity, "round_rule": "ROUND_NEAR"}


def _component(scene: Scene, dimension: str, cents: int) -> Facts:
    passed_on = scene.story.passed_on
    return {
        "type": dimension,
        "price": fixed(cents, 2),
        "vat": Decimal(VAT),
        "step_size": _STEPS[dimension],
        "price_round": _rounding("THOUSANDTH") if passed_on else None,
        "step_round": _rounding("UNIT") if passed_on else None,
        "exact_price_component": True if passed_on else None,
    }


def _time_of_day(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _elements(scene: Scene) -> list[Facts]:
    found: list[Facts] = []
    for element in scene.story.tariff.elements:
        restrictions: dict[str, Fact] = {}
        if element.hours is not None:
            restrictions["start_time"] = _time_of_day(element.hours[0])
            restrictions["end_time"] = _time_of_day(element.hours[1])
        if element.days:
            restrictions["day_of_week"] = [_DAYS[day] for day in element.days]
        components = [_component(scene, name, cents) for name, cents in element.prices]
        found.append({"price_components": components, "restrictions": restrictions or None})
    return found


def _tariff(scene: Scene) -> Facts:
    story, tariff = scene.story, scene.story.tariff
    dice = story.dice("tariff details")
    # No bound that the charge would meet: what it costs is the sum of its parts.
    floor = Money(5_000) if dice.happens(20) and story.costs(story.stretches).total > 5_000 else None
    only_for = scene.emsp if dice.happens(15) else (None, None)
    return {
        "country_code": AddedByIop(scene.cpo[0]),
        "party_id": AddedByIop(scene.cpo[1]),
        "id": tariff.id,
        "currency": "EUR",
        "type": "REGULAR" if dice.happens(50) else None,
        "tariff_alt_text": _texts(*tariff.words) if dice.happens(70) else [],
        "tariff_alt_url": f"{_SITE}/tarifs/{tariff.id.lower()}" if dice.happens(30) else None,
        "min_price": floor,
        "max_price": Money(1_500_000) if dice.happens(20) else None,
        "elements": _elements(scene),
        "start_date_time": tariff.changed,
        "end_date_time": datetime(2026, 12, 31, 23, tzinfo=UTC) if dice.happens(20) else None,
        "energy_mix": _energy_mix(scene) if dice.happens(20) else None,
        "last_updated": tariff.changed,
        "gireve_id": _gireve_id(scene, tariff.id),
        "target_operator_country_code": only_for[0],
        "target_operator_party_id": only_for[1],
        "restriction": {"day_of_week": _DAYS} if story.passed_on else None,
    }


def _restrictions(scene: Scene) -> Facts:
    dice = scene.story.dice("restrictions")
    begin, energy, hours = 60 * dice.between(5, 11), dice.between(1, 10), dice.between(1, 4)
    return {
        "start_time": _time_of_day(begin),
        "end_time": _time_of_day(begin + 60 * dice.between(6, 12)),
        "start_date": "2025-01-01",
        "end_date": "2026-01-01",
        "min_kwh": Decimal(energy),
        "max_kwh": Decimal(energy + dice.between(10, 40)),
        "min_power": Decimal(2),
        "max_power": Decimal(22),
        "min_current": Decimal(6),
        "max_current": Decimal(96),
        "min_duration": 3600 * hours,
        "max_duration": 3600 * (hours + dice.between(1, 8)),
        "day_of_week": dice.some(_DAYS, 60) or ["MONDAY"],
    }


def _iop_restriction(scene: Scene) -> Facts:
    """Describe when a whole tariff applies: two slots of the day."""
    return {
        "start_time": "06:00",
        "end_time": "12:00",
        "start_time_2": "14:00",
        "end_time_2": "22:00",
        "day_of_week": scene.story.dice("restriction").some(_DAYS, 60) or ["MONDAY"],
    }


# --- tokens ----------------------------------------------------------------------------------------------


def _issuer(scene: Scene) -> str:
    return f"Mobilité {scene.emsp[0]}*{scene.emsp[1]}"


def _group(scene: Scene) -> str | None:
    story = scene.story
    return f"GROUP-{story.seed % 1000:03d}" if story.dice("group").happens(15) else None


def _token(scene: Scene) -> Facts:
    story, badge = scene.story, scene.story.badge
    dice = story.dice("token")
    whitelist = {"AUTH_REQUEST": "NEVER", "COMMAND": "ALLOWED_OFFLINE", "WHITELIST": "ALLOWED"}
    return {
        "country_code": scene.emsp[0],
        "party_id": scene.emsp[1],
        **_token_type(badge),
        "uid": badge.uid,
        "contract_id": badge.contract_id,
        "auth_id": badge.contract_id,
        "visual_number": badge.printed,
        "issuer": _issuer(scene),
        "group_id": _group(scene),
        "valid": True,
        "whitelist": whitelist[story.authorized],
        "language": dice.choice(("fr", "fr", "fr", "en", "de", "nl", "es", "it", None)),
        "default_profile_type": dice.choice(("CHEAP", "FAST", "GREEN", "REGULAR"))
        if dice.happens(20)
        else None,
        "energy_contract": _energy_contract(scene) if dice.happens(15) else None,
        "last_updated": badge.changed,
    }


def _token_type(badge: Badge) -> dict[str, Fact]:
    return {"type": Either(badge.type, "OTHER")}


def _energy_contract(scene: Scene) -> Facts:
    number = scene.story.seed
    return {"supplier_name": "Fournisseur Exemple", "contract_id": f"CONTRAT-{number:08d}"}


def _cdr_token(scene: Scene) -> Facts:
    badge = scene.story.badge
    return {
        "country_code": scene.emsp[0],
        "party_id": scene.emsp[1],
        "uid": badge.uid,
        **_token_type(badge),
        "contract_id": badge.contract_id,
    }


def _location_references(scene: Scene) -> Facts:
    story = scene.story
    connector = str(story.station.plugs.index(story.plug) + 1)
    return {"location_id": story.site.id, "evse_uids": [story.station.uid], "connector_ids": [connector]}


def _authorization_info(scene: Scene) -> Facts:
    story = scene.story
    return {
        "allowed": "ALLOWED",
        "token": _token(scene),
        "location": _location_references(scene),
        "authorization_reference": story.authorization,
        "authorization_id": story.authorization,
        "info": _text("fr", "Bonne route !") if story.dice("info").happens(30) else None,
    }


# --- sessions and CDRs -----------------------------------------------------------------------------------


def _authorized(story: Story) -> dict[str, Fact]:
    """Describe how the driver was authorized: the id of the authorization is repeated where there was one."""
    given = None if story.authorized == "WHITELIST" else story.authorization
    return {
        "auth_id": story.badge.contract_id,
        "auth_method": Either(story.authorized, "AUTH_REQUEST"),
        "authorization_reference": given,
        "authorization_id": given,
    }


def _periods(story: Story, stretches: Sequence[Stretch]) -> list[Facts]:
    found: list[Facts] = []
    flat = story.tariff.price("FLAT", local_time(story.begin)) > 0
    for index, one in enumerate(stretches):
        hours = fixed(one.ticks * 5, 2)
        dimensions: list[Fact] = []
        if one.hectowatts:
            dimensions += [
                {"type": "ENERGY", "volume": fixed(one.energy, 2)},
                {"type": "TIME", "volume": hours},
                {"type": "MAX_POWER", "volume": fixed(one.hectowatts, 1)},
            ]
        else:
            dimensions.append({"type": "PARKING_TIME", "volume": hours})
        if flat and index == 0:
            dimensions.append({"type": "FLAT", "volume": Decimal(1)})
        found.append({"start_date_time": one.begin, "dimensions": dimensions, "tariff_id": story.tariff.id})
    return found


def _energy(stretches: Sequence[Stretch]) -> Decimal:
    return fixed(sum(one.energy for one in stretches), 2)


def _meter(story: Story) -> str:
    return f"METER-{story.station.uid}"


def _session(scene: Scene) -> Facts:
    story = scene.story
    dice = story.dice("session")
    status = dice.choice(("COMPLETED", "COMPLETED", "ACTIVE", "PENDING"))
    count = {"COMPLETED": len(story.stretches), "PENDING": 0}.get(
        status, dice.between(1, len(story.stretches))
    )
    done = story.stretches[:count]
    now = done[-1].end if done else story.begin
    return {
        "country_code": scene.cpo[0],
        "party_id": scene.cpo[1],
        "id": story.session_id,
        "start_datetime": story.begin,
        "start_date_time": story.begin,
        "end_datetime": story.end if status == "COMPLETED" else None,
        "end_date_time": story.end if status == "COMPLETED" else None,
        "kwh": _energy(done),
        "cdr_token": _cdr_token(scene),
        **_authorized(story),
        "location": _used_location(scene),
        "location_id": story.site.id,
        "evse_uid": story.station.uid,
        "connector_id": str(story.station.plugs.index(story.plug) + 1),
        "meter_id": _meter(story),
        "currency": "EUR",
        "charging_periods": _periods(story, done),
        "total_cost": Money(story.costs(done).total) if done else None,
        "status": status,
        "last_updated": now + timedelta(seconds=dice.between(1, 30)),
    }


def _cdr_location(scene: Scene) -> Facts:
    story = scene.story
    plug = story.plug
    region = story.site.town.region
    return {
        **_address(story.site),
        "id": story.site.id,
        "state": region if len(region) <= 20 else None,
        "evse_uid": story.station.uid,
        "evse_id": story.station.evse_id,
        "connector_id": str(story.station.plugs.index(plug) + 1),
        "connector_standard": plug.standard,
        "connector_format": plug.format,
        "connector_power_type": plug.power_type,
    }


def _cost(amount: int) -> Money | None:
    return Money(amount) if amount else None


def _cdr(scene: Scene) -> Facts:
    story = scene.story
    dice = story.dice("cdr")
    costs = story.costs(story.stretches)
    ticks = sum(one.ticks for one in story.stretches)
    parked = sum(one.ticks for one in story.stretches if not one.hectowatts)
    return {
        "country_code": scene.cpo[0],
        "party_id": scene.cpo[1],
        "id": story.cdr_id,
        "start_date_time": story.begin,
        "stop_date_time": story.end,
        "end_date_time": story.end,
        "session_id": story.session_id,
        "cdr_token": _cdr_token(scene),
        **_authorized(story),
        "cdr_location": _cdr_location(scene),
        "location": _used_location(scene),
        "meter_id": _meter(story),
        "currency": "EUR",
        "tariffs": [_tariff(scene)],
        "charging_periods": _periods(story, story.stretches),
        "signed_data": _signed_data(scene) if dice.happens(25) else None,
        "total_cost": Money(costs.total),
        "total_fixed_cost": _cost(costs.fixed),
        "total_energy": _energy(story.stretches),
        "total_energy_cost": _cost(costs.energy),
        "total_time": fixed(ticks * 5, 2),
        "total_time_cost": _cost(costs.time),
        "total_parking_time": fixed(parked * 5, 2),
        "total_parking_cost": _cost(costs.parking),
        "remark": "Fin de charge demandée par le conducteur" if dice.happens(20) else None,
        "invoice_reference_id": f"FACTURE-{story.seed:06d}" if dice.happens(20) else None,
        "home_charging_compensation": False if dice.happens(10) else None,
        "last_updated": story.end + timedelta(minutes=dice.between(1, 600)),
    }


def _signed_value(scene: Scene, nature: str) -> Facts:
    """Describe a meter value; the signature has the form of one and proves nothing."""
    story = scene.story
    moment, reading = (
        (story.begin, 0) if nature == "Start" else (story.end, sum(s.energy for s in story.stretches))
    )
    kwh = fixed(100_000 + story.seed % 100_000 + reading, 2)
    plain = (
        f'OCMF|{{"FV":"1.0","MS":"{_meter(story)}","TM":"{format_datetime(moment)}","RV":{kwh},"RU":"kWh"}}'
    )
    return {
        "nature": nature,
        "plain_data": plain,
        "signed_data": b64encode(
            _HASH(plain.encode()).digest() + _HASH(plain[::-1].encode()).digest()
        ).decode(),
    }


def _signed_data(scene: Scene) -> Facts:
    return {
        "encoding_method": "OCMF",
        "encoding_method_version": 1,
        "public_key": b64encode(_HASH(_meter(scene.story).encode()).digest()).decode(),
        "signed_values": [_signed_value(scene, nature) for nature in ("Start", "End")],
        "url": f"{_SITE}/transparence",
    }


# --- commands and charging profiles ----------------------------------------------------------------------


def _command(scene: Scene, name: str) -> dict[str, Fact]:
    story = scene.story
    return {
        "response_url": f"https://emsp.example.com/ocpi/commands/{name}/{story.authorization}",
        "token": _token(scene),
        "location_id": story.site.id,
        "evse_uid": story.station.uid,
        "connector_id": str(story.station.plugs.index(story.plug) + 1),
        "session_id": story.session_id,
        "reservation_id": story.seed + 1,
        "authorization_reference": story.authorization,
        "authorization_id": story.authorization,
        "expiry_date": story.begin + 10 * TICK,
    }


def _profile(scene: Scene) -> Facts:
    story = scene.story
    limits = [one for one in story.stretches if one.hectowatts]
    return {
        "start_date_time": story.begin,
        "duration": int((story.end - story.begin).total_seconds()),
        "charging_rate_unit": "W",
        "min_charging_rate": Decimal(1380),
        "charging_profile_period": [
            {
                "start_period": int((one.begin - story.begin).total_seconds()),
                "limit": Decimal(one.hectowatts * 100),
            }
            for one in limits
        ],
    }


# --- the handshake ---------------------------------------------------------------------------------------

_MODULES = ("credentials", "locations", "tariffs", "tokens", "sessions", "cdrs", "commands")
_API = "https://cpo.example.com/ocpi"


def _endpoint(scene: Scene, module: str) -> Facts:
    role = "RECEIVER" if module in ("tokens", "commands") else "SENDER"
    return {"identifier": module, "role": role, "url": f"{_API}/{scene.version}/{module}"}


def _role(scene: Scene) -> dict[str, Fact]:
    return {
        "role": "CPO",
        "business_details": _company(scene.cpo, "Opérateur"),
        "party_id": scene.cpo[1],
        "country_code": scene.cpo[0],
    }


def _credentials(scene: Scene) -> Facts:
    # Like a real token in form only: whoever knows the seed knows it.
    digest = _HASH(f"credentials {scene.story.seed}".encode()).digest()
    token = b64encode(digest, b"-_").decode().rstrip("=")
    return {"token": token, "url": f"{_API}/versions", **_role(scene), "roles": [_role(scene)]}


FACTS: Mapping[str, Callable[[Scene], Facts]] = {
    "ActiveChargingProfile": lambda scene: {
        "start_date_time": scene.story.begin,
        "charging_profile": _profile(scene),
    },
    "ActiveChargingProfileResult": lambda scene: {
        "result": "ACCEPTED",
        "profile": FACTS["ActiveChargingProfile"](scene),
    },
    "AdditionalGeoLocation": lambda scene: {
        **_position(scene.story.site.latitude + 120, scene.story.site.longitude - 90),
        "name": _text("fr", "Entrée du parking"),
    },
    "AuthorizationInfo": _authorization_info,
    "BusinessDetails": lambda scene: _company(scene.cpo, "Opérateur"),
    "CDR": _cdr,
    "CancelReservation": lambda scene: _command(scene, "CANCEL_RESERVATION"),
    "CdrDimension": lambda scene: {"type": "ENERGY", "volume": _energy(scene.story.stretches)},
    "CdrLocation": _cdr_location,
    "CdrToken": _cdr_token,
    "ChargingPeriod": lambda scene: _periods(scene.story, scene.story.stretches)[0],
    "ChargingPreferences": lambda scene: {
        "profile_type": scene.story.dice("preferences").choice(("CHEAP", "FAST", "GREEN", "REGULAR")),
        "departure_time": scene.story.end,
        "energy_need": _energy(scene.story.stretches),
        "discharge_allowed": False,
    },
    "ChargingProfile": _profile,
    "ChargingProfilePeriod": lambda scene: {
        "start_period": 0,
        "limit": Decimal(scene.story.stretches[0].hectowatts * 100),
    },
    "ClientInfo": lambda scene: {
        "party_id": scene.cpo[1],
        "country_code": scene.cpo[0],
        "role": "CPO",
        "status": scene.story.dice("client").choice(("CONNECTED", "CONNECTED", "OFFLINE", "PLANNED")),
        "last_updated": scene.story.begin,
    },
    "Connector": lambda scene: _connector(
        scene, scene.story.station, scene.story.station.plugs.index(scene.story.plug)
    ),
    "Credentials": _credentials,
    "CredentialsRole": _role,
    "DisplayText": lambda scene: _text("fr", scene.story.tariff.words[0]),
    "EVSE": lambda scene: _evse(scene, scene.story.station, range(len(scene.story.station.plugs))),
    "Endpoint": lambda scene: _endpoint(scene, scene.story.dice("endpoint").choice(_MODULES)),
    "EnergyContract": _energy_contract,
    "EnergyMix": _energy_mix,
    "ExceptionalPeriod": lambda scene: _period(scene.story.begin, scene.story.end),
    "GeoLocation": lambda scene: _position(scene.story.site.latitude, scene.story.site.longitude),
    "Hours": lambda scene: _hours(scene.story.site, scene.story.dice("location")),
    "Image": lambda scene: _image(scene.story.site.id.lower(), "LOCATION"),
    "Location": _whole_location,
    "LocationReferences": _location_references,
    "Price": lambda scene: price(Money(scene.story.costs(scene.story.stretches).total)),
    "PriceComponent": lambda scene: _component(scene, *scene.story.tariff.elements[0].prices[0]),
    "PublishTokenType": _publish_token_type,
    "RegularHours": lambda scene: {
        "weekday": scene.story.dice("weekday").between(1, 7),
        "period_begin": "08:30",
        "period_end": "20:30",
    },
    "ReserveNow": lambda scene: _command(scene, "RESERVE_NOW"),
    "ResponseFormat": lambda scene: {
        "data": [{"version": scene.version, "url": f"{_API}/{scene.version}"}],
        "status_code": 1000,
        "status_message": "Success",
        "timestamp": scene.story.end,
    },
    "Session": _session,
    "SetChargingProfile": lambda scene: {
        "charging_profile": _profile(scene),
        "response_url": f"{_API}/chargingprofiles/{scene.story.authorization}",
    },
    "SignedData": _signed_data,
    "SignedValue": lambda scene: _signed_value(scene, "End"),
    "StartSession": lambda scene: _command(scene, "START_SESSION"),
    "StatusSchedule": lambda scene: {
        **_period(scene.story.begin, scene.story.begin + 20 * TICK),
        "status": "INOPERATIVE",
    },
    "StepRound": lambda _: _rounding("UNIT"),
    "StopSession": lambda scene: _command(scene, "STOP_SESSION"),
    "Tariff": _tariff,
    "TariffElement": lambda scene: _elements(scene)[0],
    "TariffRestriction": _iop_restriction,
    "TariffRestrictions": _restrictions,
    "Token": _token,
    "UnlockConnector": lambda scene: _command(scene, "UNLOCK_CONNECTOR"),
    "Version": lambda scene: {"version": scene.version, "url": f"{_API}/{scene.version}"},
    "VersionDetails": lambda scene: {
        "version": scene.version,
        "endpoints": [_endpoint(scene, module) for module in _MODULES],
    },
}
"""By the name of a class, what its object says. The other classes are made of their fields alone."""
