"""Valid, realistic objects of any class of OCPI, for tests; the same ones every time.

Objects of one seed belong together, in both versions: they tell one charge, of a driver of the eMSP at a
station of the CPO. The CDR of seed 7 is that of the Session of seed 7, which was at the Location of seed 7
with its Token and cost what its Tariff says. A Session may be shown at an earlier moment of that charge.

Nothing in them is anybody's: sites, companies, tokens and meters are made up, and every URL is of
example.com.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar, cast
from unicodedata import normalize

from .._model import FieldSpec, Model, String, Url, field_specs, gireve_values_of
from ..types import Json, OcpiEnum, PartyId
from ._facts import FACTS, AddedByIop, Either, Fact, Facts, Money, Scene, price
from ._story import LARGEST_SEED, Dice, fixed, tell

__all__ = ["CPO", "EMSP", "sample", "samples"]

M = TypeVar("M", bound=Model)

CPO: Final = PartyId("FR", "CPO")
"""Whose locations, tariffs, sessions and CDRs the samples are."""
EMSP: Final = PartyId("FR", "EMP")
"""Whose tokens the samples are."""


def sample(cls: type[M], seed: int = 0, *, cpo: PartyId = CPO, emsp: PartyId = EMSP) -> M:
    """Make an object of a class of OCPI 2.1.1 or 2.2.1.

    It keeps to the specification, rules between fields included. The same arguments make an equal object in
    every process and on every Python. Change it with `attrs.evolve`.

    Args:
        cls: The class, such as `v221.Location`.
        seed: Which one; 0 to 999 999 999. Ids differ from seed to seed.
        cpo: The CPO whose charge it is.
        emsp: The eMSP whose driver it is.

    Raises:
        ValueError: the seed is out of range.
        InvalidObject: the party's codes are longer than the class allows.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"expected a seed of 0 to {LARGEST_SEED}, not {seed}")
    operator, provider = (cpo.country_code, cpo.party_id), (emsp.country_code, emsp.party_id)
    scene = Scene(tell(seed, operator, provider), cls.reference.partition(" ")[0], operator, provider)
    return _sample(cls, scene)


def samples(cls: type[M], count: int, seed: int = 0, *, cpo: PartyId = CPO, emsp: PartyId = EMSP) -> list[M]:
    """Make several objects: those of the seeds `seed`, `seed + 1`, and so on.

    Lists of several classes with the same count and seed belong together, item by item.

    Raises:
        ValueError: a seed is out of range.
        InvalidObject: the party's codes are longer than the class allows.
    """
    return [sample(cls, number, cpo=cpo, emsp=emsp) for number in range(seed, seed + count)]


# --- facts -> objects ------------------------------------------------------------------------------------


class _Unknown(Exception):
    """A version has no word for something that its object cannot do without."""


def _sample(cls: type[M], scene: Scene) -> M:
    facts = FACTS.get(cls.__name__)
    return _fallback(cls, scene) if facts is None else _build(cls, facts(scene), scene)


def _build(cls: type[M], facts: Facts, scene: Scene) -> M:
    """Make an object of the facts that its class has fields for."""
    values: dict[str, object] = {}
    for spec in field_specs(cls):
        fact = facts.get(spec.name)
        if isinstance(fact, AddedByIop):
            fact = fact.value if spec.extension is None or scene.story.passed_on else None
        if fact is not None:
            values[spec.name] = _many(spec, fact, scene) if spec.many else _value(spec, fact, scene)
        elif spec.required:
            values[spec.name] = _made_up(spec, scene, _topic(cls))
    return cast("Callable[..., M]", cls)(**values)


def _many(spec: FieldSpec, fact: Fact, scene: Scene) -> list[object]:
    values: list[object] = []
    for one in cast("Sequence[Fact]", fact):
        try:
            value = _value(spec, one, scene)
        except _Unknown:
            continue
        if value is not None:
            values.append(value)
    return values


def _value(spec: FieldSpec, fact: Fact, scene: Scene) -> object:
    if isinstance(fact, Money):
        return _build(spec.cls, price(fact), scene) if spec.cls is not None else fixed(fact.amount, 4)
    if spec.kind == "enum":
        enum = cast("type[OcpiEnum]", spec.cls)
        words = (fact.value, fact.instead) if isinstance(fact, Either) else (str(fact),)
        known = [enum(word) for word in words if enum(word).is_known]
        if not known and spec.required and not spec.many:
            raise _Unknown(spec.name)
        return known[0] if known else None
    if spec.kind == "model":
        return _build(cast("type[Model]", spec.cls), cast("Facts", fact), scene)
    return _written(spec, str(fact)) if spec.kind == "string" else fact


def _written(spec: FieldSpec, text: str) -> str:
    """Write a text as its field allows: of the kinds of text, only `String` itself has accents."""
    if text.isascii() or type(spec.text) is String:
        return text
    plain = text.replace("–", "-").replace("€", "EUR")
    return normalize("NFKD", plain).encode("ascii", "ignore").decode()


# --- objects of their fields alone -----------------------------------------------------------------------

_WORDS = ("Alpha", "Bravo", "Charlie", "Delta", "Echo", "Foxtrot", "Golf", "Hotel")


def _topic(cls: type[Model]) -> str:
    return f"fields of {cls.__name__}"


def _fallback(cls: type[M], scene: Scene) -> M:
    """Make an object of a class of which only the fields are known: each keeps to its own rules."""
    dice = scene.story.dice(f"presence in {cls.__name__}")
    values: dict[str, object] = {}
    for spec in field_specs(cls):
        if spec.many:
            count = dice.between(1 if spec.required else 0, 2)
            topics = [f"{_topic(cls)} {index}" for index in range(count)]
            values[spec.name] = [_made_up(spec, scene, topic) for topic in topics]
        elif spec.required or (dice.happens(60) and spec.kind != "any"):
            values[spec.name] = _made_up(spec, scene, _topic(cls))
    return cast("Callable[..., M]", cls)(**values)


def _made_up(spec: FieldSpec, scene: Scene, topic: str) -> object:
    """Make up one value of a field."""
    dice = scene.story.dice(f"{topic}: {spec.name}")
    if spec.kind == "model":
        return _sample(cast("type[Model]", spec.cls), scene)
    if spec.kind == "enum":
        enum = cast("type[OcpiEnum]", spec.cls)
        ours = [member for member in enum if member.value not in gireve_values_of(enum)]
        return dice.choice(ours or list(enum))
    return _SCALARS[spec.kind](spec, dice, scene)


def _text(spec: FieldSpec, dice: Dice, _: Scene) -> str:
    word = dice.choice(_WORDS)
    if spec.text is None:
        return word
    if spec.text.regex is not None:
        raise ValueError(f"{spec.name}: a text that matches {spec.text.regex} cannot be made up")
    if isinstance(spec.text, Url):
        return f"https://www.example.com/{word.lower()}"
    return word[: spec.text.max_length]


def _integer(spec: FieldSpec, dice: Dice, _: Scene) -> int:
    return dice.between(1, 9 if spec.max_digits == 1 else 60)


def _number(_: FieldSpec, dice: Dice, __: Scene) -> Decimal:
    return fixed(dice.between(1, 9999), 2)


def _moment(_: FieldSpec, __: Dice, scene: Scene) -> datetime:
    return scene.story.begin


def _flag(_: FieldSpec, dice: Dice, __: Scene) -> bool:
    return dice.happens(50)


def _anything(_: FieldSpec, __: Dice, ___: Scene) -> Json:
    return {}


_SCALARS: Mapping[str, Callable[[FieldSpec, Dice, Scene], object]] = {
    "string": _text,
    "int": _integer,
    "number": _number,
    "datetime": _moment,
    "boolean": _flag,
    "any": _anything,
}
