"""Objects of both versions for the tests of receivers, and a store that lets others in; knows no receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from ocpi_gireve import Context, MemoryStore, Page, PartyId, v211, v221
from ocpi_gireve._model import Model
from ocpi_gireve.pagination import Rejected
from ocpi_gireve.store.records import Scope, StoredObject
from ocpi_gireve.testing import sample
from tests.support import CPO, EMSP, NOW, a_cdr, a_session, changed

M = TypeVar("M", bound=Model)

IOP = "iop"
CTX = Context(partner=IOP, version="2.2.1", sender=CPO, request_id="r", correlation_id="c")
OTHER = Context(partner="other", version="2.2.1", sender=CPO, request_id="r", correlation_id="c")
OLD = Context(partner=IOP, version="2.1.1", sender=CPO, request_id="r", correlation_id="c")

EARLIER, LATER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)


def at(minutes: float) -> datetime:
    """That long after NOW."""
    return NOW + timedelta(minutes=minutes)


class YieldingStore(MemoryStore):
    """A store whose answers take their time, so that others get their turn in between.

    Attributes:
        fails: Whether it cannot keep anything at present.
        reads: How many pages of objects were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.reads = 0

    async def objects(
        self,
        connection: str,
        kind: str,
        owner: PartyId | None = None,
        *,
        changed_from: datetime | None = None,
        changed_to: datetime | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[StoredObject]:
        self.reads += 1
        return await super().objects(
            connection,
            kind,
            owner,
            changed_from=changed_from,
            changed_to=changed_to,
            offset=offset,
            limit=limit,
        )

    async def put_object(self, obj: StoredObject) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("the disk is full")
        await super().put_object(obj)

    async def object(self, scope: Scope, kind: str, id: str) -> StoredObject | None:
        found = await super().object(scope, kind, id)
        await asyncio.sleep(0)
        return found


@asynccontextmanager
async def a_store() -> AsyncGenerator[YieldingStore]:
    """A store that is open."""
    store = YieldingStore()
    await store.open()
    yield store
    await store.close()


async def pages(*found: Sequence[M], rejected: int = 0) -> AsyncIterator[Page[M]]:
    """The pages of a listing; the first has items that could not be read."""
    for index, items in enumerate(found):
        await asyncio.sleep(0)
        wrong = [Rejected(index=0, raw=b"{}", problems=())] * (rejected if index == 0 else 0)
        yield Page(items=items, total=None, rejected=tuple(wrong))


async def listed(objects: AsyncIterator[M]) -> list[M]:
    """Everything that comes."""
    return [one async for one in objects]


def a_period(kwh: str, start: datetime = NOW) -> v221.ChargingPeriod:
    """A charging period that gave some energy."""
    volume = v221.CdrDimension(type=v221.CdrDimensionType.ENERGY, volume=Decimal(kwh))
    return v221.ChargingPeriod(start_date_time=start, dimensions=[volume])


def ended(**changes: object) -> v221.Session:
    """A session of `a_session` that is completed."""
    done = {"status": v221.SessionStatus.COMPLETED, "end_date_time": NOW, "kwh": Decimal(9)}
    return a_session(**{**done, "last_updated": LATER, **changes})


def a_tariff(**changes: object) -> v221.Tariff:
    """A Tariff of FR*CPO, from its sample; `changes` replace its fields."""
    fixed = {"id": "T1", "last_updated": NOW, "start_date_time": None, "end_date_time": None}
    nobody = {"target_operator_country_code": None, "target_operator_party_id": None}
    return changed(sample(v221.Tariff, cpo=CPO), {**fixed, **nobody, **changes})


def a_client(**changes: object) -> v221.ClientInfo:
    """What a hub says of FR*EMP; `changes` replace its fields."""
    info = v221.ClientInfo(
        country_code="FR",
        party_id="EMP",
        role=v221.Role.EMSP,
        status=v221.ConnectionStatus.CONNECTED,
        last_updated=NOW,
    )
    return changed(info, changes)


def credits_of(cdr: v221.CDR) -> v221.CDR:
    """The credit CDR of a CDR."""
    back = v221.Price(excl_vat=-cdr.total_cost.excl_vat)
    return a_cdr(id=f"{cdr.id}-C", credit=True, credit_reference_id=cdr.id, total_cost=back)


# --- 2.1.1 ---------------------------------------------------------------------------------------------


def old_location(**changes: object) -> v211.Location:
    """A Location with the EVSE E1 and its connector 1, whose operator IOP names; `changes` replace fields."""
    made = sample(v211.Location, cpo=CPO)
    connector = changed(made.evses[0].connectors[0], {"id": "1", "last_updated": NOW})
    evse = changed(
        made.evses[0],
        {
            "uid": "E1",
            "connectors": [connector],
            "status": v211.Status.AVAILABLE,
            "last_updated": NOW,
        },
    )
    named = v211.BusinessDetails(name="FR*CPO")
    fixed = {"id": "LOC1", "operator": named, "evses": [evse], "last_updated": NOW}
    return changed(made, {**fixed, **changes})


def old_session(**changes: object) -> v211.Session:
    """An active Session at `old_location`, of the authorization A1; `changes` replace its fields."""
    fixed: dict[str, object] = {
        "id": "S1",
        "location": old_location(),
        "status": v211.SessionStatus.ACTIVE,
        "end_datetime": None,
        "charging_periods": [],
        "authorization_id": "A1",
        "last_updated": NOW,
    }
    return changed(sample(v211.Session, cpo=CPO, emsp=EMSP), {**fixed, **changes})


def old_cdr(**changes: object) -> v211.CDR:
    """A CDR of a session at `old_location`, of the authorization A1; `changes` replace its fields."""
    fixed = {"id": "CDR1", "location": old_location(), "authorization_id": "A1", "last_updated": NOW}
    return changed(sample(v211.CDR, cpo=CPO, emsp=EMSP), {**fixed, **changes})


def old_tariff(**changes: object) -> v211.Tariff:
    """A Tariff; `changes` replace its fields."""
    return changed(sample(v211.Tariff, cpo=CPO), {"id": "T1", "last_updated": NOW, **changes})


def old_token(**changes: object) -> v211.Token:
    """A Token whose issuer IOP names; `changes` replace its fields."""
    fixed = {
        "uid": "01020304050607",
        "type": v211.TokenType.RFID,
        "auth_id": "FR-EMP-C00000001",
        "issuer": "FR*EMP",
        "valid": True,
        "last_updated": NOW,
    }
    return changed(sample(v211.Token, emsp=EMSP), {**fixed, **changes})


def ids(objects: Iterable[v211.Location | v221.Location]) -> list[str]:
    """The ids of locations."""
    return [one.id for one in objects]
