"""Serves the library's routes with a framework: `python benchmarks/_frameworks.py fastapi`, or `starlette`.

They do the least that a host could do without the library: the token is looked up, the message parsed, ids
and routing headers sent back. With FastAPI, path, headers and body are declared, and so checked by pydantic
for the same fields and lengths as ours. Neither knows repetitions, owners or roles, and neither keeps what it
does not know.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import pydantic
from _serving import TOKEN, chosen, used
from _serving_asgi import serve_asgi
from codec import Peers
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ocpi_gireve.interface import Operation, operations
from ocpi_gireve.platform import DIALECTS

PARTNERS = {hashlib.sha256(TOKEN.encode()).digest(): "iop"}


def routes() -> Iterator[tuple[Operation, str]]:
    """The operations of both versions, and the path of each, in the order of their declarations."""
    for dialect in DIALECTS:
        for interface in (*dialect.interfaces, dialect.versions, dialect.credentials):
            for side in dialect.details_paths:
                if side is not None and interface.functional and str(interface.role) != side:
                    continue
                if interface is dialect.versions:
                    place = dialect.details_path(side)
                else:
                    place = dialect.endpoint_path(interface, side)
                for operation in operations(interface):
                    path = "{rest:path}" if operation.at_link else operation.path
                    yield operation, f"/ocpi/{place}/{path}".rstrip("/")


def partner_of(authorization: str) -> str | None:
    """Whose token this is."""
    try:
        token = base64.b64decode(authorization.removeprefix("Token "), validate=True)
    except ValueError:
        return None
    return PARTNERS.get(hashlib.sha256(token).digest())


def now() -> str:
    """The timestamp of an answer."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Starlette -----------------------------------------------------------------------------------------


async def answered(request: Request) -> JSONResponse:
    """Do the least for any message."""
    headers = request.headers
    if partner_of(headers.get("Authorization", "")) is None:
        return JSONResponse({"status_code": 2001, "timestamp": now()}, status_code=401)
    await request.json()
    used.requests += 1
    return JSONResponse(
        {"status_code": 1000, "status_message": "Success", "timestamp": now()},
        headers={
            "X-Request-ID": headers["X-Request-ID"],
            "X-Correlation-ID": headers["X-Correlation-ID"],
            "OCPI-from-country-code": headers["OCPI-to-country-code"],
            "OCPI-from-party-id": headers["OCPI-to-party-id"],
            "OCPI-to-country-code": headers["OCPI-from-country-code"],
            "OCPI-to-party-id": headers["OCPI-from-party-id"],
        },
    )


def starlette() -> Starlette:
    """All routes, with one function."""
    return Starlette(
        routes=[Route(path, answered, methods=[operation.http_method]) for operation, path in routes()]
    )


# --- FastAPI -------------------------------------------------------------------------------------------


class Answer(pydantic.BaseModel):
    """An answer without data."""

    status_code: int
    status_message: str
    timestamp: str


def authorized(authorization: Annotated[str, Header()]) -> str:
    """The partner that asks."""
    partner = partner_of(authorization)
    if partner is None:
        raise HTTPException(401)
    return partner


def echoed(  # noqa: PLR0917 - FastAPI passes them by name
    response: Response,
    x_request_id: Annotated[str, Header()],
    x_correlation_id: Annotated[str, Header()],
    ocpi_from_country_code: Annotated[str, Header(max_length=2)],
    ocpi_from_party_id: Annotated[str, Header(max_length=3)],
    ocpi_to_country_code: Annotated[str, Header(max_length=2)],
    ocpi_to_party_id: Annotated[str, Header(max_length=3)],
) -> None:
    """Send back the ids, and the routing headers the other way round."""
    response.headers["X-Request-ID"] = x_request_id
    response.headers["X-Correlation-ID"] = x_correlation_id
    response.headers["OCPI-from-country-code"] = ocpi_to_country_code
    response.headers["OCPI-from-party-id"] = ocpi_to_party_id
    response.headers["OCPI-to-country-code"] = ocpi_from_country_code
    response.headers["OCPI-to-party-id"] = ocpi_from_party_id


def endpoint_of(operation: Operation, peers: Peers) -> Callable[..., Awaitable[Answer]]:
    """Make the function of a route, as it would be written by hand: FastAPI reads its signature."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    declared: dict[str, Any] = dict.fromkeys(operation.path_fields, str)
    if operation.at_link:
        declared["rest"] = str
    if operation.body is not None:
        body = peers.pydantic(operation.body)
        declared["body"] = changes_of(body) if operation.is_patch else body
    declared["partner"] = Annotated[str, Depends(authorized)]
    declared["ids"] = Annotated[None, Depends(echoed)]

    async def endpoint(**_: object) -> Answer:
        used.requests += 1
        return Answer(status_code=1000, status_message="Success", timestamp=now())

    cast("Any", endpoint).__signature__ = inspect.Signature(
        [inspect.Parameter(name, keyword, annotation=kind) for name, kind in declared.items()],
        return_annotation=Answer,
    )
    return endpoint


def changes_of(model: type[pydantic.BaseModel]) -> type[pydantic.BaseModel]:
    """A model of the same fields, none of them mandatory."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        fields[name] = (cast("Any", kind) | None, None)
    return cast(
        "type[pydantic.BaseModel]", cast("Any", pydantic.create_model)(f"{model.__name__}Changes", **fields)
    )


def fastapi() -> FastAPI:
    """All routes, each with a function of its own."""
    app, peers = FastAPI(), Peers()
    for operation, path in routes():
        app.add_api_route(path, endpoint_of(operation, peers), methods=[operation.http_method])
    return app


if __name__ == "__main__":
    asyncio.run(serve_asgi(fastapi() if chosen("fastapi", "starlette") == "fastapi" else starlette()))
