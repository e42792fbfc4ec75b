from __future__ import annotations

import pytest

from ocpi_gireve import Context, PageQuery, v221
from ocpi_gireve.errors import NotEnoughInformation, UnknownToken
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.simulator.emsp import EmspLocations, EmspTokens
from ocpi_gireve.simulator.samples import drivers
from tests.simulator.scene import EVSE, HERE, status_at
from tests.support import a_location

CTX = Context(partner="iop", version="2.2.1", request_id="r", correlation_id="c")
VALID, BLOCKED = drivers()


class TestTokens:
    async def test_decisions(self) -> None:
        """A valid card is allowed, with a reference; one that is not valid is blocked, without."""
        tokens = EmspTokens(drivers())
        allowed = await tokens.authorize(CTX, v221.OwnTokenRef(VALID.uid.lower()), HERE)
        assert allowed.allowed is v221.AllowedType.ALLOWED
        assert [allowed.authorization_reference] == tokens.references
        blocked = await tokens.authorize(CTX, v221.OwnTokenRef(BLOCKED.uid), HERE)
        assert (blocked.allowed, blocked.authorization_reference) == (v221.AllowedType.BLOCKED, None)

    async def test_refusals(self) -> None:
        """A card that is not ours is unknown, and without a location nothing is decided."""
        tokens = EmspTokens(drivers())
        with pytest.raises(UnknownToken):
            await tokens.authorize(CTX, v221.OwnTokenRef("FFFFFFFF"), HERE)
        with pytest.raises(UnknownToken):
            await tokens.authorize(CTX, v221.OwnTokenRef(VALID.uid, v221.TokenType.APP_USER), HERE)
        with pytest.raises(NotEnoughInformation):
            await tokens.authorize(CTX, v221.OwnTokenRef(VALID.uid))

    async def test_list(self) -> None:
        """The cards can be listed."""
        page = await EmspTokens(drivers()).list_tokens(CTX, PageQuery(limit=1))
        assert (list(page.items), page.total) == ([VALID], 2)


class TestLocations:
    async def test_statuses(self) -> None:
        """Each status is noted once, however often its message comes."""
        locations = EmspLocations(LocationBook([a_location()]))
        charging, blocked = status_at(v221.Status.CHARGING, 1), status_at(v221.Status.BLOCKED, 2)
        for changes in (charging, charging, blocked):
            await locations.patch_evse(CTX, EVSE, changes)
        assert locations.statuses == [v221.Status.CHARGING, v221.Status.BLOCKED]
