"""The OpenAPI description of one version of OCPI, for those who speak it without Python; serves nothing.

It is made of the declarations of the operations and of the schemas of the models. It says what the
specification asks for, so whoever keeps to it is understood. A platform of this library forgives more: an
over-long text, an unknown enum value, a missing header.

Keywords beyond OpenAPI 3.1, and beyond those of `ocpi_gireve.schema`:

| keyword | of | meaning |
|---|---|---|
| ``x-ocpi-module`` | an operation | the module's identifier |
| ``x-ocpi-role`` | an operation | the side that serves it; left out where both do |
| ``x-ocpi-callers`` | an operation | the market roles that call it; a hub always may |
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, TypeAlias, cast, get_args, get_type_hints

import attrs
from attrs import frozen

from ._model import CiString, Model, String, Url, model, with_article
from .dialect import Dialect
from .errors import (
    Forbidden,
    MalformedMessage,
    MessageTooLarge,
    MethodNotAllowed,
    Unauthorized,
    UnknownObject,
)
from .interface import Interface, Operation, also_named, operations
from .pagination import Link
from .schema import json_schema
from .tokens import TokenEncoding
from .types import ExtensibleEnum, Json, JsonObject, OcpiEnum, Role

__all__ = ["OPENAPI_VERSION", "document"]

OPENAPI_VERSION = "3.1.0"
"""What `openapi` says."""

_Object: TypeAlias = dict[str, Json]

_JSON_TYPE = "application/json"
_SCHEMAS = "#/components/schemas/"
_PLACE = "place"
_SUCCESS, _REFUSAL = "Success", "Refusal"
_TOKEN, _ANY_TOKEN = "token", "any_token"
_TOKENS: Mapping[TokenEncoding, str] = {
    TokenEncoding.BASE64: "`Token ` and the Base64 of the credentials token.",
    TokenEncoding.RAW: "`Token ` and the credentials token as it is.",
    TokenEncoding.AUTO: "`Token ` and the credentials token, as it is or in Base64.",
}
_REFUSED: Mapping[str, tuple[int, str]] = {
    "MalformedMessage": (
        MalformedMessage.http,
        "The body is not JSON, or a header or parameter cannot be read.",
    ),
    "Unauthorized": (
        Unauthorized.http,
        "No token, an unknown one, or one that does not open this endpoint.",
    ),
    "Forbidden": (Forbidden.http, "The party may not do this."),
    "UnknownObject": (UnknownObject.http, "There is no such object, or it belongs to somebody else."),
    "MethodNotAllowed": (MethodNotAllowed.http, "Already registered, or not registered."),
    "BodyTooSlow": (408, "The body did not arrive in time."),
    "MessageTooLarge": (MessageTooLarge.http, "The body is longer than this platform accepts."),
}
"""The refusals with an HTTP status of their own; all others come with 200 and their OCPI status."""
_MESSAGE_IDS: Mapping[str, str] = {
    "X-Request-ID": (
        "Names this one exchange; the answer repeats it, or has a new one where it cannot be repeated safely."
    ),
    "X-Correlation-ID": "Shared by all exchanges that have one cause; repeated as `X-Request-ID` is.",
}
_PARTY = ("country_code", "party_id")


@model
class _Answer(Model):
    """What every answer holds."""

    status_code: int
    """OCPI status code."""
    status_message: Annotated[str, String()] | None = None
    """For the engineers of the caller."""
    timestamp: datetime
    """When the answer was made."""


@model
class _Values(Model):
    """Values that stand beside objects: in a path, a query or a header."""

    text: Annotated[str, String()]
    moment: datetime
    url: Annotated[str, Url()]
    message_id: Annotated[str, String(128, regex="[!-~]+")]
    country_code: Annotated[str, CiString(2, regex="[!-~]{2}")]
    party_id: Annotated[str, CiString(3, regex="[!-~]{3}")]


def document(
    dialect: Dialect,
    interfaces: Iterable[type[Interface]] | None = None,
    *,
    public_url: str = "https://ocpi.example.com",
    title: str | None = None,
) -> JsonObject:
    """Describe one version of OCPI as it is served below a public URL.

    Versions and credentials are part of every platform, so they are always described.

    Args:
        dialect: The version, such as `v221.DIALECT`.
        interfaces: The interfaces that are served; None: every one of the version.
        public_url: The absolute URL below which the platform serves.
        title: The title of the document; by default it names the version.

    Raises:
        ValueError: an interface does not belong to this version.
    """
    served = tuple(dict.fromkeys(dialect.interfaces if interfaces is None else interfaces))
    foreign = [one.__name__ for one in served if one not in dialect.interfaces]
    if foreign:
        raise ValueError(f"OCPI {dialect.version} has no interface {', '.join(foreign)}")
    components = _Components(dialect)
    paths: _Object = {}
    for path, group in groupby(sorted(_places(dialect, served), key=_path_of), key=_path_of):
        here = list(group)
        item: _Object = {place.method: _operation(place, here, components) for place in here}
        if len(item) < len(here):
            raise ValueError(f"OCPI {dialect.version}: two operations with one method at {path}")
        paths[path] = item
    tags: list[Json] = [
        {"name": one.__name__, "description": _paragraph(one.__doc__)}
        for one in (dialect.versions, dialect.credentials, *served)
    ]
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": title or f"OCPI {dialect.version}",
            "version": dialect.version,
            "description": "HTTP 200 says that a request arrived; of what came of it, `status_code` tells.",
        },
        "servers": [{"url": public_url.rstrip("/")}],
        "tags": tags,
        "paths": paths,
        "components": components.finished(),
    }


# --- places ------------------------------------------------------------------------------------------------


@frozen
class _Place:
    """One operation at one path.

    Attributes:
        side: The role of ours whose URL it is, where several have one.
        security: How the token is presented there.
    """

    operation: Operation
    dialect: Dialect
    path: str
    side: Role | None = None
    security: str = _TOKEN

    @property
    def method(self) -> str:
        return self.operation.http_method.lower()

    @property
    def id(self) -> str:
        return self.operation.id if self.side is None else f"{self.operation.id}.{self.side.lower()}"

    @property
    def routed(self) -> bool:
        """Whether its messages carry routing headers."""
        interface = self.operation.interface
        return self.dialect.routing and interface.functional and interface.routed


def _path_of(place: _Place) -> str:
    return place.path


def _places(dialect: Dialect, served: Sequence[type[Interface]]) -> Iterator[_Place]:
    """Yield where each operation is served."""
    used = {str(interface.role) for interface in served}
    sides = [side for side in dialect.details_paths if side is None or str(side) in used]
    sides = sides or list(dialect.details_paths)
    listed, detailed = operations(dialect.versions)
    lists: dict[str, Role | None] = {"versions": None}
    for side in sides:
        lists.setdefault(dialect.versions_path(side), side)
    for path, side in lists.items():
        # The versions are asked for before one is agreed on.
        yield _Place(listed, dialect, f"/{path}", side, _ANY_TOKEN)
    for side in sides:
        yield _Place(detailed, dialect, f"/{dialect.details_path(side)}", side)
        for operation in operations(dialect.credentials):
            yield _Place(operation, dialect, f"/{dialect.endpoint_path(dialect.credentials, side)}", side)
    for interface in served:
        for operation in operations(interface):
            rest = f"{{{_PLACE}}}" if operation.at_link else operation.path
            path = f"/{dialect.endpoint_path(interface)}"
            yield _Place(operation, dialect, f"{path}/{rest}" if rest else path)


# --- operations --------------------------------------------------------------------------------------------


def _operation(place: _Place, here: Sequence[_Place], components: _Components) -> _Object:
    operation, interface = place.operation, place.operation.interface
    callers: list[Json] = [role.value for role in sorted(interface.callers)]
    described: _Object = {"operationId": place.id, "tags": [interface.__name__], "summary": operation.summary}
    more = _further(inspect.getdoc(getattr(interface, operation.name)))
    if more:
        described["description"] = more
    described["x-ocpi-module"] = operation.module
    if operation.role:
        described["x-ocpi-role"] = operation.role
    described["x-ocpi-callers"] = callers
    described["security"] = [{place.security: []}]
    described["parameters"] = [
        *_in_path(operation, components),
        *_in_query(operation),
        *_in_headers(place, components),
    ]
    if operation.bodies:
        described["requestBody"] = _body(operation, components)
    described["responses"] = _answers(place, here, components)
    return described


def _in_path(operation: Operation, components: _Components) -> Iterator[_Object]:
    if operation.at_link and operation.interface.functional:
        about = "What follows the endpoint in the URL that was handed out; it may hold slashes."
        yield _parameter(_PLACE, "path", _value("text") | {"minLength": 1, "description": about})
    for name in operation.path_fields:
        yield _parameter(name, "path", components.identifier(name))


def _in_query(operation: Operation) -> Iterator[_Object]:
    if not operation.query_fields:
        return
    target = cast("type[Any]", operation.target)
    hints, fields, about = (
        get_type_hints(target, include_extras=True),
        attrs.fields_dict(target),
        _told(target),
    )
    for name in operation.query_fields:
        schema = _in_text(name, hints[name])
        default = fields[name].default
        if isinstance(default, str | int):
            schema["default"] = str(default) if isinstance(default, OcpiEnum) else default
        others = ", ".join(f"`{other}`" for other in also_named(fields[name]))
        words = [about.get(name, ""), f"Also read as {others}." if others else ""]
        schema["description"] = " ".join(filter(None, words))
        yield _parameter(name, "query", schema, required=name in operation.required_query)


def _in_headers(place: _Place, components: _Components) -> Iterator[_Object]:
    # Message ids came to OCPI together with the routing headers; before, they are GIREVE's.
    required = place.dialect.routing
    for name, about in _MESSAGE_IDS.items():
        schema = _value("message_id") | {"description": about}
        yield components.header_of_requests(name, schema, required=required)
    operation = place.operation
    said: Mapping[str, str] = {}
    if place.routed:
        said = {"to": "The party that is asked.", "from": "The party that asks."}
    elif operation.paginated and operation.interface.routed:
        said = {"to": "GIREVE's: the party whose objects are listed, where there are several."}
    for direction, about in said.items():
        for part in _PARTY:
            schema = _value(part) | {"description": about}
            yield components.header_of_requests(_party_header(direction, part), schema, required=place.routed)


def _party_header(direction: str, part: str) -> str:
    return f"OCPI-{direction}-{part.replace('_', '-')}"


def _parameter(name: str, where: str, schema: _Object, *, required: bool = True) -> _Object:
    """Describe a parameter; what its schema says of it is said of the parameter."""
    about = schema.pop("description", None)
    parameter: _Object = {"name": name, "in": where, "required": required, "schema": schema}
    return parameter | {"description": about} if about else parameter


def _body(operation: Operation, components: _Components) -> _Object:
    describe = components.patch if operation.is_patch else components.model
    schemas: list[Json] = [describe(body) for body in operation.bodies]
    schema: Json = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"required": not operation.body_optional, "content": {_JSON_TYPE: {"schema": schema}}}


def _answers(place: _Place, here: Sequence[_Place], components: _Components) -> _Object:
    operation = place.operation
    schema: _Object = {"oneOf": [components.success(operation), _reference(_REFUSAL)]}
    answered: _Object = {
        "description": "The answer, or the OCPI status that says why there is none.",
        "headers": _headers(place, components),
        "content": {_JSON_TYPE: {"schema": schema}},
    }
    others = [other for other in here if other is not place]
    if operation.http_method == "PUT" and operation.path_fields and others:
        answered["links"] = {other.operation.name: _link(other) for other in others}
    answers: _Object = {"200": answered}
    for name in _refusals(operation):
        answers[str(_REFUSED[name][0])] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(answers.items()))


def _link(place: _Place) -> _Object:
    """Say that what was put is found by the same path."""
    parameters: _Object = {f"path.{name}": f"$request.path.{name}" for name in place.operation.path_fields}
    return {"operationId": place.id, "parameters": parameters}


def _refusals(operation: Operation) -> Iterator[str]:
    """Yield the refusals that an operation may meet."""
    yield from ("MalformedMessage", "Unauthorized")
    if operation.bodies:
        yield from ("BodyTooSlow", "MessageTooLarge")
    if operation.interface.functional:
        yield "Forbidden"
        if not operation.paginated:
            yield "UnknownObject"
    elif not operation.at_link:  # credentials
        yield "MethodNotAllowed"


def _headers(place: _Place, components: _Components) -> _Object:
    """Describe the headers of an answer that succeeded."""
    operation = place.operation
    headers = components.message_ids()
    if place.routed:
        for direction, about in (("to", "Who asked."), ("from", "Who answers.")):
            for part in _PARTY:
                name = _party_header(direction, part)
                headers[name] = components.header(name, _value(part), about)
    if operation.paginated:
        count: _Object = {"type": "integer", "minimum": 0}
        for name, schema, about in (
            ("Link", _Object(type="string"), 'The next page: `<URL>; rel="next"`; the last one has none.'),
            ("X-Total-Count", count, "How many objects match the query, offset and limit left out."),
            ("X-Limit", count, "The most objects that a page has here."),
        ):
            headers[name] = components.header(name, schema, about)
    if operation.answer is Link:
        headers["Location"] = components.header("Location", _value("url"), "Where the new object is.")
    return headers


# --- schemas and other components --------------------------------------------------------------------------


class _Components:
    """The parts that operations share, described once each."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._schemas: _Object = {}
        self._parameters: _Object = {}
        self._headers: _Object = {}
        self._known = _models(dialect)

    def finished(self) -> _Object:
        """Return all parts that were asked for, in alphabetical order."""
        success = _with_status(1000, 1999, "What a success says.")
        refusal = _with_status(2000, 4999, "What a refusal says.")
        if self._dialect.empty_data is not None:
            cast("_Object", refusal["properties"])["data"] = dict(_NOTHING)
        content: _Object = {_JSON_TYPE: {"schema": _reference(_REFUSAL)}}
        refused: _Object = {
            name: {"description": words, "headers": self._headers_of(status), "content": content}
            for name, (status, words) in _REFUSED.items()
        }
        return {
            "schemas": dict(sorted({**self._schemas, _SUCCESS: success, _REFUSAL: refusal}.items())),
            "parameters": dict(sorted(self._parameters.items())),
            "headers": dict(sorted(self._headers.items())),
            "responses": refused,
            "securitySchemes": {
                _TOKEN: _scheme(self._dialect.token_encoding),
                _ANY_TOKEN: _scheme(TokenEncoding.AUTO),
            },
        }

    def _headers_of(self, status: int) -> _Object:
        headers = self.message_ids()
        if status == Unauthorized.http:
            value: _Object = {"const": "Token"}
            headers["WWW-Authenticate"] = self.header("WWW-Authenticate", value, "How to present a token.")
        elif status == MethodNotAllowed.http:
            value = {"type": "string"}
            headers["Allow"] = self.header("Allow", value, "The other methods of this URL.")
        return headers

    def message_ids(self) -> _Object:
        """Describe the headers of every answer."""
        return {name: self.header(name, _value("message_id"), "As in the request.") for name in _MESSAGE_IDS}

    def header(self, name: str, schema: _Object, about: str) -> _Object:
        """Describe a header of an answer, and return a reference to it."""
        self._headers.setdefault(name, _Object(description=about, schema=schema))
        return {"$ref": f"#/components/headers/{name}"}

    def header_of_requests(self, name: str, schema: _Object, *, required: bool) -> _Object:
        """Describe a header of a request, and return a reference to it."""
        self._parameters.setdefault(name, _parameter(name, "header", schema, required=required))
        return {"$ref": f"#/components/parameters/{name}"}

    def model(self, cls: type[Model]) -> _Object:
        """Describe a class, with all that it refers to, and return a reference to it."""
        own = _reference(cls.__name__)
        if cls.__name__ not in self._schemas:
            schema = {name: part for name, part in json_schema(cls).items() if name not in ("$schema", "$id")}
            parts = cast("_Object", schema.pop("$defs", {}))
            for name, part in ({cls.__name__: schema} | parts).items():
                self._schemas.setdefault(name, _rebased(part, own["$ref"]))
        return own

    def patch(self, cls: type[Model]) -> _Object:
        """Describe what a PATCH of a class carries: some of its fields, and those that it must."""
        self.model(cls)
        name = f"{cls.__name__}Patch"
        schema = dict(cast("_Object", self._schemas[cls.__name__]))
        schema["title"] = name
        schema["description"] = f"Some fields of {with_article(cls.__name__)}; the others stay as they are."
        schema.pop("required", None)
        properties = cast("_Object", schema["properties"])
        required: list[Json] = [one for one in properties if one in self._dialect.patch_requires]
        if required:
            schema["required"] = required
        self._schemas[name] = schema
        return _reference(name)

    def success(self, operation: Operation) -> _Object:
        """Return the schema of an answer that succeeded."""
        answer, base = operation.answer, _reference(_SUCCESS)
        if answer is not None and answer is not Link:
            data: _Object = _enum(answer) if issubclass(answer, OcpiEnum) else self.model(answer)
            if operation.lists or operation.paginated:
                data = {"type": "array", "items": data}
        elif self._dialect.empty_data is not None:
            data = dict(_NOTHING)
        else:
            return base
        properties: _Object = {"data": data}
        return {"allOf": [base, {"type": "object", "properties": properties, "required": ["data"]}]}

    def identifier(self, name: str) -> _Object:
        """Return the schema of a part of a path: of the field by which it names an object.

        ``location_id`` is the `id` of a Location, ``evse_uid`` the `uid` of an EVSE.
        """
        if name in _PARTY:
            return _value(name)
        word, _, field = name.rpartition("_")
        cls = self._known.get(word)
        named = _properties(cls).get(field) if cls is not None else None
        return (_value("text") if named is None else dict(cast("_Object", named))) | {"minLength": 1}


_NOTHING: _Object = {"type": "object", "maxProperties": 0}


def _models(dialect: Dialect) -> Mapping[str, type[Model]]:
    """Return the classes that the operations of a version carry, by their names in lower case."""
    carried = [cls for one in dialect.all_operations() for cls in (*one.bodies, one.answer)]
    models = [cls for cls in carried if isinstance(cls, type) and issubclass(cls, Model)]
    return {cls.__name__.lower(): cls for cls in models}


def _scheme(encoding: TokenEncoding) -> _Object:
    # A scheme of type `http` would have to be one that is registered for HTTP, and `Token` is not.
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": _TOKENS[encoding]}


def _reference(name: str) -> _Object:
    return {"$ref": f"{_SCHEMAS}{name}"}


def _properties(cls: type[Model]) -> JsonObject:
    return cast("JsonObject", json_schema(cls)["properties"])


def _value(name: str) -> _Object:
    """Return the schema of a value that stands beside objects."""
    return dict(cast("_Object", _properties(_Values)[name]))


def _in_text(name: str, hint: object) -> _Object:
    """Return the schema of a part of a query."""
    kind = next(one for one in get_args(hint) or (hint,) if one is not type(None))
    if kind is int:
        return {"type": "integer", "minimum": 1 if name == "limit" else 0}
    if kind is datetime:
        return _value("moment")
    if isinstance(kind, type) and issubclass(kind, OcpiEnum):
        return _enum(kind)
    if any(isinstance(rule, Url) for rule in getattr(hint, "__metadata__", ())):
        return _value("url")
    return _value("text") | {"minLength": 1}


def _enum(cls: type[OcpiEnum]) -> _Object:
    known: list[Json] = [member.value for member in cls]
    if issubclass(cls, ExtensibleEnum):
        return {"type": "string", "minLength": 1, "x-extensible-enum": known}
    return {"type": "string", "enum": known}


def _with_status(least: int, most: int, about: str) -> _Object:
    schema = json_schema(_Answer)
    properties = dict(_properties(_Answer))
    status: _Object = {"minimum": least, "maximum": most}
    properties["status_code"] = cast("_Object", properties["status_code"]) | status
    return {
        "description": about,
        **{key: schema[key] for key in ("type", "required")},
        "properties": properties,
    }


def _rebased(schema: Json, own: Json) -> Json:
    """Return a schema whose references lead to the components, and to `own` where they led to its root."""
    if isinstance(schema, list):
        return [_rebased(part, own) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rebased = {name: _rebased(part, own) for name, part in schema.items()}
    target = schema.get("$ref")
    if isinstance(target, str):
        rebased["$ref"] = own if target == "#" else target.replace("#/$defs/", _SCHEMAS)
    return rebased


# --- docstrings, which Python may have been told to leave out ----------------------------------------------

_ATTRIBUTES = re.compile(r"^Attributes:\n((?: +.*\n|\n)+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*\n(?: {5,}.*\n)*)", re.MULTILINE)
_SECTION = re.compile(r"^\w+:$", re.MULTILINE)


def _paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _further(text: str | None) -> str:
    """Return what a docstring says after its first line and before its sections."""
    return _SECTION.split((text or "").partition("\n")[2], maxsplit=1)[0].strip()


def _told(cls: type[Any]) -> Mapping[str, str]:
    """Return what the docstring of a class says of its attributes."""
    section = _ATTRIBUTES.search(f"{inspect.cleandoc(cls.__doc__ or '')}\n")
    entries: list[tuple[str, str]] = _ATTRIBUTE.findall(section[1]) if section else []
    return {name: " ".join(words.replace("``", "`").split()) for name, words in entries}
