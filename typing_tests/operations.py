"""What the type checkers must accept, and the mistakes that both must report.

Each mistake carries an ignore; both checkers also report an ignore that is not needed, so a mistake that
went unnoticed fails the check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

from ocpi_gireve import Connection, Context, Link, Page, PageQuery, Patch, v211, v221


async def uses(
    iop: Connection,
    ctx: Context,
    location: v221.Location,
    evse: v221.EVSE,
    session: v221.Session,
) -> None:
    """Accept reads, writes and uploads of objects, and know what each returns."""
    ref = v221.LocationRef("FR", "CPO", "L1")
    evse_ref = v221.EvseRef("FR", "CPO", "L1", "E1")
    token = v221.OwnTokenRef("0102030405060708")
    assert_type(await iop.call(v221.LocationsReceiver.get_location, ref), v221.Location)
    assert_type(await iop.call(v221.TokensSender.authorize, token), v221.AuthorizationInfo)
    assert_type(Patch.between(evse, evse), Patch[v221.EVSE])
    assert_type(iop.crawl(v221.LocationsSender.list_locations), AsyncIterator[v221.Location])
    await iop.call(v221.LocationsReceiver.put_location, ref, location=location)
    assert_type(await iop.upload(v221.LocationsReceiver.put_location, ref, location), int)
    assert_type(await iop.upload(v221.LocationsReceiver.patch_evse, evse_ref, Patch.between(evse, evse)), int)
    await iop.routed(following=ctx).upload(
        v221.SessionsReceiver.put_session, v221.SessionRef("FR", "CPO", "S1"), session
    )


async def answers(iop: Connection, cdr: v221.CDR, command: v221.StartSession) -> None:
    """Know the answers that are no plain object: a command's, a place, pages."""
    pages = iop.pages(v221.LocationsSender.list_locations, PageQuery())
    assert_type(pages, AsyncIterator[Page[v221.Location]])
    assert_type(await iop.call(v221.CommandsReceiver.start_session, command), v221.CommandResponse)
    assert_type(await iop.call(v221.CdrsReceiver.post_cdr, cdr), Link)
    assert_type(await iop.upload(v221.CdrsReceiver.post_cdr, cdr), int)


async def tokens_and_tariffs(iop: Connection, tariff: v221.Tariff, token: v221.Token) -> None:
    """Accept what removes an object, and what a query tells apart."""
    ref = v221.TariffRef("FR", "CPO", "T1")
    assert_type(await iop.call(v221.TariffsReceiver.get_tariff, ref), v221.Tariff)
    assert_type(await iop.upload(v221.TariffsReceiver.put_tariff, ref, tariff), int)
    assert_type(await iop.upload(v221.TariffsReceiver.delete_tariff, ref), int)
    app = v221.TokenRef("FR", "EMP", "0102030405060708", v221.TokenType.APP_USER)
    assert_type(await iop.upload(v221.TokensReceiver.put_token, app, token), int)
    assert_type(iop.crawl(v221.TokensSender.list_tokens), AsyncIterator[v221.Token])


async def profiles(
    iop: Connection,
    link: Link,
    preferences: v221.ChargingPreferences,
    result: v221.ClearProfileResult,
    active: v221.ActiveChargingProfileResult,
) -> None:
    """Know a bare value as an answer, a DELETE that answers, and a body that is one of several."""
    own = v221.OwnSessionRef("S1")
    answer = await iop.call(v221.SessionsSender.put_charging_preferences, own, preferences)
    assert_type(answer, v221.ChargingPreferencesResponse)
    cleared = v221.ClearProfileRef("S1", "https://scsp.example.com/results/1")
    response = await iop.call(v221.ChargingProfilesReceiver.delete_charging_profile, cleared)
    assert_type(response, v221.ChargingProfileResponse)
    await iop.call(v221.ChargingProfilesSender.post_profile_result, link, result)
    await iop.call(v221.ChargingProfilesSender.post_profile_result, link, active)


async def former_version(
    iop: Connection, session: v211.Session, tariff: v211.Tariff, command: v211.StartSession, link: Link
) -> None:
    """Accept the operations of 2.1.1, and those that IOP adds, with the objects of 2.1.1."""
    ref = v211.SessionRef("FR", "CPO", "S1")
    assert_type(await iop.upload(v211.SessionsEmsp.put_session, ref, session), int)
    assert_type(iop.crawl(v211.SessionsCpo.list_sessions), AsyncIterator[v211.Session])
    patch = Patch.between(tariff, tariff)
    assert_type(
        await iop.upload(v211.TariffsEmsp.patch_tariff, v211.TariffRef("FR", "CPO", "T1"), patch), int
    )
    assert_type(await iop.call(v211.CommandsCpo.start_session, command), v211.CommandResponse)
    done = v211.CommandResponse(result=v211.CommandResponseType.TIMEOUT)
    await iop.call(v211.CommandsEmsp.post_result, link, done)
    assert_type(await iop.call(v211.GireveTokens.get_token, v211.OwnTokenRef("01020304")), v211.Token)


async def mistakes_between_versions(
    iop: Connection, link: Link, session: v221.Session, preferences: v221.ChargingPreferences
) -> None:
    """Report each of these lines."""
    ref = v211.SessionRef("FR", "CPO", "S1")
    await iop.call(v211.SessionsEmsp.put_session, ref, session)  # type: ignore[arg-type]  # an object of the other version
    await iop.call(v221.SessionsReceiver.put_session, ref, session)  # type: ignore[arg-type]  # a target of the other version
    result = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
    await iop.call(v221.ChargingProfilesSender.post_profile_result, link, result)  # type: ignore[arg-type]  # none of the three
    own = v221.OwnSessionRef("S1")
    await iop.upload(v221.SessionsSender.put_charging_preferences, own, preferences)  # type: ignore[arg-type]  # it answers
    v221.ActiveProfileRef("S1", 60)  # type: ignore[call-arg]  # nowhere to answer to


async def mistakes(iop: Connection, location: v221.Location, evse: v221.EVSE) -> None:
    """Report each of these lines."""
    ref = v221.LocationRef("FR", "CPO", "L1")
    own = v221.OwnLocationRef("L1")
    await iop.call(v221.LocationsReceiver.put_location, ref, evse)  # type: ignore[arg-type]  # wrong body
    await iop.call(v221.LocationsReceiver.put_location, "L1", location)  # type: ignore[arg-type]  # wrong target
    await iop.call(v221.LocationsReceiver.put_location, ref)  # type: ignore[call-arg]  # no body
    await iop.call(v221.LocationsReceiver.put_location, ref, place=location)  # type: ignore[call-arg]  # no such name
    await iop.call(v221.LocationsSender.list_locations, PageQuery())  # type: ignore[type-var]  # a listing is crawled
    await iop.call(v221.LocationsReceiver.patch_evse, ref, Patch.between(location, location))  # type: ignore[arg-type]  # a patch of another class
    await iop.upload(v221.LocationsReceiver.get_location, ref)  # type: ignore[arg-type]  # a read is not an upload
    await iop.upload(v221.LocationsSender.get_location, own)  # type: ignore[arg-type]  # a read is not an upload
    iop.crawl(v221.LocationsReceiver.get_location)  # type: ignore[arg-type]  # not a listing
    v221.Connector(id="1", standard="CHADEMO")  # type: ignore[call-arg, arg-type]  # fields are missing, and text is not an enum
    location.name = "Other"  # type: ignore[misc]  # immutable


class Locations(v221.LocationsSender):
    """An override must keep the declaration's types."""

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.EVSE]:  # type: ignore[override]  # wrong item
        raise NotImplementedError
