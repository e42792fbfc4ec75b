from __future__ import annotations

import json
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from ocpi_gireve import Context, v211, v221
from ocpi_gireve._codec import encode
from ocpi_gireve._model import Model
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.interface import Interface, get, operations
from ocpi_gireve.openapi import document
from ocpi_gireve.testing import sample, samples
from ocpi_gireve.types import Role
from tests.operation_tables import Tables, tables_of

DIALECTS = {one.version: one for one in (v211.DIALECT, v221.DIALECT)}
LOCATION = "/2.2.1/receiver/locations/{country_code}/{party_id}/{location_id}"
COMMANDS = "/2.2.1/sender/commands/{place}"

Json = dict[str, Any]


@frozen
class Colour:
    """Names a colour by the module that it stands for."""

    colour_id: str
    module: v221.ModuleID = v221.ModuleID.CDRS


def plain(described: Mapping[str, Any]) -> Json:
    """A document as other programs get it: through JSON."""
    return cast("Json", json.loads(json.dumps(described)))


def described(version: str, *interfaces: type[Interface]) -> Json:
    """The document of a version, or of some of its interfaces."""
    return plain(document(DIALECTS[version], interfaces or None))


def each_operation(whole: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield path, method and description of every operation."""
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def resolved(whole: Json, part: Json) -> Json:
    """What a reference leads to; anything else as it is."""
    while "$ref" in part:
        found: Any = whole
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def references(whole: Json) -> set[str]:
    """Every reference of a document, each of which leads somewhere."""
    found: set[str] = set()
    parts: list[object] = [whole]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += cast("list[object]", part)
        elif isinstance(part, dict):
            inside = cast("Json", part)
            parts += inside.values()
            if "$ref" in inside:
                found.add(inside["$ref"])
                resolved(whole, inside)
    return found


def parameters(whole: Json, operation: Json, where: str) -> dict[str, Json]:
    """The parameters of an operation in one place, by name."""
    found = [resolved(whole, one) for one in operation["parameters"]]
    return {one["name"]: one for one in found if one["in"] == where}


def departures(schema: Json, value: object) -> list[str]:
    """What a validator says of a value."""
    # The stubs of jsonschema leave the type of an overload open.
    found = Draft202012Validator(schema).iter_errors(cast("Any", value))  # pyright: ignore[reportUnknownMemberType]
    return [f"{error.json_path}: {error.message}" for error in found]


def errors(whole: Json, schema: Json, value: object) -> list[str]:
    """What a validator says of a value, by a schema of the document."""
    return departures({**whole, **schema}, value)


def flaws(whole: Json) -> list[str]:
    """Where a document departs from the meta schema of OpenAPI 3.1, or its schemas from JSON Schema's."""
    schemas = whole["components"]["schemas"]
    found = departures(cast("Json", OPENAPI_31), whole)
    for name, schema in schemas.items():
        found += [
            f"{name}: {flaw}" for flaw in departures(cast("Json", Draft202012Validator.META_SCHEMA), schema)
        ]
    return found


def body_of(operation: Json) -> Json:
    """The schema of a request's body."""
    found: Json = operation["requestBody"]["content"]["application/json"]["schema"]
    return found


def answer_of(operation: Json) -> Json:
    """The schema of an answer with HTTP 200."""
    found: Json = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return found


# --- the document as a whole -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", DIALECTS)
def test_is_openapi(version: str) -> None:
    """The document keeps to the meta schema of OpenAPI 3.1, and each of its schemas to JSON Schema's."""
    whole = described(version)
    assert flaws(whole) == []
    assert whole["openapi"] == "3.1.0"


def test_what_is_not_openapi() -> None:
    """A parameter without a place, and a schema with a type that does not exist, are found by that check."""
    whole = described("2.2.1", v221.CdrsSender)
    del whole["paths"]["/2.2.1/sender/cdrs"]["get"]["parameters"][0]["in"]
    whole["components"]["schemas"]["CDR"]["type"] = "text"
    assert [one.split(":")[0] for one in flaws(whole)] == [
        "$.paths['/2.2.1/sender/cdrs'].get.parameters[0]",
        "CDR",
    ]


@pytest.mark.parametrize("version", DIALECTS)
def test_references_lead_somewhere(version: str) -> None:
    """Every reference leads to a part of the document, and every part of it is referred to."""
    whole = described(version)
    kinds = ("schemas", "parameters", "headers", "responses")
    parts = {f"#/components/{kind}/{name}" for kind in kinds for name in whole["components"][kind]}
    assert references(whole) == parts
    text = json.dumps(whole)
    assert "$defs" not in text
    assert "$id" not in text


@pytest.mark.parametrize("version", DIALECTS)
def test_operations_have_names_and_tags(version: str) -> None:
    """Each operation has an id of its own, a summary, and the tag of its interface, which is described."""
    whole = described(version)
    found = [operation for _, _, operation in each_operation(whole)]
    assert len({one["operationId"] for one in found}) == len(found)
    assert all(one["summary"] for one in found)
    tags = {one["name"]: one["description"] for one in whole["tags"]}
    assert all(tags.values())
    for one in found:
        (tag,) = one["tags"]
        assert one["operationId"].startswith(f"{tag}.")
        assert tag in tags
    ids = {".".join(one["operationId"].split(".")[:2]) for one in found}
    assert ids == {operation.id for operation in DIALECTS[version].all_operations()}


@pytest.mark.parametrize("version", DIALECTS)
def test_names_in_paths_are_parameters(version: str) -> None:
    """The names in a path are exactly the parameters that stand in it, all of them required."""
    whole = described(version)
    for path, _, operation in each_operation(whole):
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        found = parameters(whole, operation, "path")
        assert set(found) == named
        assert all(one["required"] for one in found.values())


def test_same_document_again() -> None:
    """The document is the same every time, so it can be kept beside the code and compared."""
    assert json.dumps(document(v221.DIALECT)) == json.dumps(document(v221.DIALECT))


def test_url_and_title() -> None:
    """The paths lie below the public URL, and the title is the caller's."""
    whole = document(v221.DIALECT, public_url="https://cpo.example.com/ocpi/", title="Example CPO")
    assert whole["servers"] == [{"url": "https://cpo.example.com/ocpi"}]
    assert cast("Json", whole["info"])["title"] == "Example CPO"
    assert cast("Json", whole["info"])["version"] == "2.2.1"


# --- what is served ----------------------------------------------------------------------------------------


def test_some_interfaces() -> None:
    """Only what is served is described, with versions and credentials, which every platform has."""
    whole = described("2.2.1", v221.TariffsReceiver, v221.CommandsSender)
    tariff = "/2.2.1/receiver/tariffs/{country_code}/{party_id}/{tariff_id}"
    assert set(whole["paths"]) == {"/versions", "/2.2.1", "/2.2.1/credentials", tariff, COMMANDS}
    assert set(whole["paths"][tariff]) == {"get", "put", "delete"}
    assert {one["name"] for one in whole["tags"]} == {
        "VersionsInterface",
        "CredentialsInterface",
        "TariffsReceiver",
        "CommandsSender",
    }
    assert "Tariff" in whole["components"]["schemas"]
    assert "Location" not in whole["components"]["schemas"]


def test_no_interface() -> None:
    """A platform without handlers still has versions and credentials."""
    paths = plain(document(v221.DIALECT, []))["paths"]
    assert set(paths) == {"/versions", "/2.2.1", "/2.2.1/credentials"}


@pytest.mark.parametrize(
    ("interfaces", "sides"),
    [
        ([v211.LocationsCpo], ["cpo"]),
        ([v211.TokensEmsp, v211.CdrsEmsp], ["emsp"]),
        ([v211.LocationsCpo, v211.TokensEmsp], ["cpo", "emsp"]),
        ([], ["cpo", "emsp"]),
    ],
)
def test_sides_of_211(interfaces: list[type[Interface]], sides: list[str]) -> None:
    """In 2.1.1, each side that is served has versions, details and credentials of its own."""
    paths = plain(document(v211.DIALECT, interfaces))["paths"]
    handshake = {path for path in paths if path.split("/")[-1] in ("versions", "2.1.1", "credentials")}
    expected = {f"/{side}/{rest}" for side in sides for rest in ("versions", "2.1.1", "2.1.1/credentials")}
    assert handshake == {"/versions"} | expected


def test_foreign_interface() -> None:
    """An interface of another version is refused by name."""
    with pytest.raises(ValueError, match=r"OCPI 2\.2\.1 has no interface LocationsCpo"):
        document(v221.DIALECT, [v211.LocationsCpo])


def test_two_operations_at_one_place() -> None:
    """Two operations with one method and path cannot be described, and are refused."""

    class Doubles(Interface):
        """The locations again."""

        module, role = v221.ModuleID.LOCATIONS, v221.InterfaceRole.SENDER

        @get("{location_id}")
        @abstractmethod
        async def get_place(self, ctx: Context, ref: v221.OwnLocationRef) -> v221.Location:
            """Return it."""

    doubled = evolve(v221.DIALECT, interfaces=(v221.LocationsSender, Doubles))
    with pytest.raises(ValueError, match=r"two operations with one method at /2\.2\.1/sender/locations/"):
        document(doubled)


# --- against the tables ------------------------------------------------------------------------------------


def below(dialect: Dialect, row: Tables) -> str:
    """Where a row of the tables is served."""
    if row["module"] == "credentials":
        return f"/{dialect.details_path(Role.CPO)}/credentials"
    side = str(row["interface"]).upper()
    interface = next(
        one for one in dialect.interfaces if str(one.role) == side and str(one.module) == row["module"]
    )
    return f"/{dialect.endpoint_path(interface)}"


@pytest.mark.parametrize("version", DIALECTS)
def test_every_operation_of_the_tables(version: str, shared: Path) -> None:
    """Each operation of the specification whose path is fixed is described there, with its query."""
    whole = described(version)
    seen = 0
    for row in tables_of(shared, version):
        if row["path"] is None or row["module"] == "versions":
            continue
        seen += 1
        path = below(DIALECTS[version], row) + row["path"]
        operation = whole["paths"][path][row["method"].lower()]
        query = parameters(whole, operation, "query")
        assert {name: one["required"] for name, one in query.items()} == {
            one["name"]: one["required"] for one in row["query"]
        }
        for one in row["query"]:
            assert query[one["name"]]["schema"].get("default") == one.get("default")
        assert ("requestBody" in operation) == (row["request_body"] is not None)
        if row["request_body"] is not None:
            assert operation["requestBody"]["required"] == row.get("body_required", True)
        assert ("X-Total-Count" in operation["responses"]["200"]["headers"]) == row["paginated"]
        assert operation["x-ocpi-module"] == row["module"]
        assert operation.get("x-ocpi-role", "BOTH") == row["interface"].upper()
    assert seen > 30


@pytest.mark.parametrize("version", DIALECTS)
def test_parts_of_paths_against_the_tables(version: str, shared: Path) -> None:
    """The parts of a path are as long as the specification lets them be."""
    table = json.loads((shared / "spec" / f"endpoints-{version}.json").read_bytes())["path_parameters"]
    whole = described(version)
    found: dict[str, set[int]] = {}
    for _, _, operation in each_operation(whole):
        for name, one in parameters(whole, operation, "path").items():
            if name != "place":
                found.setdefault(name, set()).add(one["schema"]["maxLength"])
    assert found == {name: {one["max_length"]} for name, one in table.items()}


def test_routing_headers(shared: Path) -> None:
    """The routing headers are those of the text, on the modules that have them; 2.1.1 has them nowhere."""
    transport = json.loads((shared / "spec" / "ocpi-2.2.1.json").read_bytes())["transport"]
    names = set(transport["routing_headers"]["names"])
    whole = described("2.2.1")
    for _, _, operation in each_operation(whole):
        found = {name for name in parameters(whole, operation, "header") if name.startswith("OCPI-")}
        exempt = operation["x-ocpi-module"] in ("versions", "credentials", "hubclientinfo")
        assert found == (set() if exempt else names)
        answered = {name for name in operation["responses"]["200"]["headers"] if name.startswith("OCPI-")}
        assert answered == found


def test_headers_of_211() -> None:
    """In 2.1.1 a listing may name the party that is asked, as GIREVE has it, and nothing else is routed."""
    whole = described("2.1.1")
    named: dict[bool, set[frozenset[str]]] = {True: set(), False: set()}
    for _, _, operation in each_operation(whole):
        found = parameters(whole, operation, "header")
        assert not any(one["required"] for one in found.values())
        paginated = "X-Total-Count" in operation["responses"]["200"]["headers"]
        named[paginated].add(frozenset(name for name in found if name.startswith("OCPI-")))
    assert named == {True: {frozenset({"OCPI-to-country-code", "OCPI-to-party-id"})}, False: {frozenset()}}


# --- messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", DIALECTS)
def test_bodies_are_those_of_the_models(version: str) -> None:
    """Each body that the library makes is one that its operation describes, and any part of it is a PATCH."""
    whole = described(version)
    seen = 0
    for operation in DIALECTS[version].all_operations():
        for cls in operation.bodies:
            (one,) = [
                body_of(described_)
                for _, _, described_ in each_operation(whole)
                if described_["operationId"] in (operation.id, f"{operation.id}.cpo")
            ]
            for made in samples(cls, 3):
                value = json.loads(encode(made))
                assert errors(whole, one, value) == []
                if operation.is_patch:
                    part = {name: value[name] for name in ("last_updated", "id") if name in value}
                    assert errors(whole, one, part) == []
                elif cls is not v221.ActiveChargingProfileResult:
                    assert errors(whole, one, {}) != []
                seen += 1
    assert seen > 60


def test_patch() -> None:
    """A PATCH requires `last_updated` in 2.2.1 alone, and what an object must have cannot be taken away."""
    whole = described("2.2.1")
    patch = body_of(whole["paths"][LOCATION]["patch"])
    assert errors(whole, patch, {"name": None, "last_updated": "2026-11-01T12:00:00Z"}) == []
    assert errors(whole, patch, {"name": "Gare"}) != []
    assert errors(whole, patch, {"city": None, "last_updated": "2026-11-01T12:00:00Z"}) != []
    other = described("2.1.1")
    path = LOCATION.replace("2.2.1/receiver", "emsp/2.1.1")
    assert errors(other, body_of(other["paths"][path]["patch"]), {"name": "Gare"}) == []


def test_alternatives() -> None:
    """A body of several classes may be any of them, and one that may be left out is not required."""
    whole = described("2.2.1")
    place = whole["paths"]["/2.2.1/sender/chargingprofiles/{place}"]["post"]
    assert [one["$ref"].split("/")[-1] for one in body_of(place)["anyOf"]] == [
        "ChargingProfileResult",
        "ClearProfileResult",
        "ActiveChargingProfileResult",
    ]
    authorize = whole["paths"]["/2.2.1/sender/tokens/{token_uid}/authorize"]["post"]
    assert authorize["requestBody"]["required"] is False


def envelope(data: object = None, status_code: int = 1000) -> Json:
    """An answer."""
    whole: Json = {"status_code": status_code, "status_message": "", "timestamp": "2026-11-01T12:00:00Z"}
    return whole if data is None else {**whole, "data": data}


def as_json(one: Model) -> object:
    """A model as JSON."""
    return json.loads(encode(one))


def test_answers() -> None:
    """An answer is an envelope: with an object, a list, or nothing, or a refusal with its status."""
    whole = described("2.2.1")
    location, listing = whole["paths"][LOCATION], whole["paths"]["/2.2.1/sender/locations"]
    one = as_json(sample(v221.Location, 1))
    for schema, right, wrong in (
        (answer_of(location["get"]), envelope(one), envelope([one])),
        (answer_of(listing["get"]), envelope([one, one]), envelope(one)),
        (answer_of(location["put"]), envelope(), envelope(status_code=10)),
    ):
        assert errors(whole, schema, right) == []
        assert errors(whole, schema, wrong) != []
        assert errors(whole, schema, envelope(status_code=2001)) == []
        assert errors(whole, schema, {"data": one}) != []


def test_answers_of_211() -> None:
    """Where there is nothing to say, 2.1.1 says an empty object, of a refusal as well."""
    whole = described("2.1.1")
    put = whole["paths"][LOCATION.replace("2.2.1/receiver", "emsp/2.1.1")]["put"]
    assert errors(whole, answer_of(put), envelope({})) == []
    assert errors(whole, answer_of(put), envelope()) != []
    assert errors(whole, answer_of(put), envelope({}, 2001)) == []
    assert errors(whole, answer_of(put), envelope({"id": "1"}, 2001)) != []


def test_headers_of_answers() -> None:
    """Pages tell totals and successor, a new CDR its place, and a refusal of the token how to present one."""
    whole = described("2.2.1")
    page = whole["paths"]["/2.2.1/sender/cdrs"]["get"]["responses"]
    assert {"Link", "X-Total-Count", "X-Limit"} <= set(page["200"]["headers"])
    posted = whole["paths"]["/2.2.1/receiver/cdrs"]["post"]["responses"]
    assert "Location" in posted["200"]["headers"]
    assert "WWW-Authenticate" in resolved(whole, posted["401"])["headers"]
    deleted = whole["paths"]["/2.2.1/credentials"]["delete"]["responses"]
    assert "Allow" in resolved(whole, deleted["405"])["headers"]
    assert "405" not in posted


@pytest.mark.parametrize(("version", "words"), [("2.1.1", "as it is"), ("2.2.1", "Base64")])
def test_tokens(version: str, words: str) -> None:
    """A token is presented as the version writes it; where no version is agreed on, in either way."""
    whole = described(version)
    schemes = whole["components"]["securitySchemes"]
    assert schemes["token"]["name"] == "Authorization"
    assert words in schemes["token"]["description"]
    for path, _, operation in each_operation(whole):
        either = path.endswith("versions")
        assert operation["security"] == [{"any_token" if either else "token": []}]


def test_links() -> None:
    """From a PUT, links lead to what else is done with the object, by the same path."""
    links = described("2.2.1")["paths"][LOCATION]["put"]["responses"]["200"]["links"]
    assert set(links) == {"get_location", "patch_location"}
    assert links["get_location"]["operationId"] == "LocationsReceiver.get_location"
    assert links["get_location"]["parameters"]["path.location_id"] == "$request.path.location_id"


def test_query_of_an_enum() -> None:
    """A part of a query with a closed list of values names them, its default and its other names."""
    whole = described("2.1.1")
    (kind,) = parameters(whole, whole["paths"]["/emsp/2.1.1/tokens/{token_uid}"]["get"], "query").values()
    assert kind["schema"] == {"type": "string", "enum": ["OTHER", "RFID"], "default": "RFID"}
    assert kind["description"] == "Also read as `token_type`, `tokenType`."


def test_enums() -> None:
    """An answer may be an enum, and of one that partners may extend the known values are told."""

    class Colours(Interface):
        """What a painter offers."""

        module, role = v221.ModuleID.TARIFFS, v221.InterfaceRole.SENDER

        @get("{colour_id}")
        @abstractmethod
        async def get_colour(self, ctx: Context, ref: Colour) -> v221.InterfaceRole:
            """Return it."""

    whole = plain(document(evolve(v221.DIALECT, interfaces=(Colours,))))
    assert flaws(whole) == []
    operation = whole["paths"]["/2.2.1/sender/tariffs/{colour_id}"]["get"]
    assert errors(whole, answer_of(operation), envelope("SENDER")) == []
    assert errors(whole, answer_of(operation), envelope("PAINTER")) != []
    module = parameters(whole, operation, "query")["module"]["schema"]
    assert "locations" in module["x-extensible-enum"]
    assert (module["default"], "enum" in module) == ("cdrs", False)


# --- descriptions ------------------------------------------------------------------------------------------


def test_words_of_docstrings() -> None:
    """What docstrings say of operations, parameters and attributes is told, without their sections."""
    whole = described("2.2.1")
    page = parameters(whole, whole["paths"]["/2.2.1/sender/cdrs"]["get"], "query")
    assert page["offset"]["description"] == "How many objects to leave out, from the oldest."
    assert page["date_to"]["description"] == "Only objects with `last_updated` before this moment."
    texts = [one.get("description", "") for _, _, one in each_operation(whole)]
    assert any(texts)
    assert not any("Raises:" in one or "Args:" in one for one in texts)


def test_optimized_python() -> None:
    """Python without docstrings (-OO) describes the same operations."""
    code = (
        "import json; from ocpi_gireve import v221; from ocpi_gireve.openapi import document;"
        "print(json.dumps(document(v221.DIALECT)))"
    )
    done = subprocess.run((sys.executable, "-OO", "-c", code), check=True, capture_output=True, text=True)
    bare = cast("Json", json.loads(done.stdout))
    assert list(bare["paths"]) == list(described("2.2.1")["paths"])
    assert references(bare) == references(described("2.2.1"))


@pytest.mark.parametrize("version", DIALECTS)
def test_every_interface_alone(version: str) -> None:
    """Each interface can be described alone: nothing is missing that another one would have brought."""
    for interface in DIALECTS[version].interfaces:
        whole = described(version, interface)
        assert references(whole)
        ids = {one["operationId"] for _, _, one in each_operation(whole)}
        assert {operation.id for operation in operations(interface)} <= ids
