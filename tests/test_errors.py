from __future__ import annotations

import inspect
import re

import pytest

from ocpi_gireve import errors
from ocpi_gireve.errors import (
    BadAnswer,
    ClientError,
    DecodeError,
    Exchange,
    Forbidden,
    HubError,
    HubTimeout,
    InvalidObject,
    InvalidParameters,
    MalformedMessage,
    MethodNotAllowed,
    NoAnswer,
    NotSent,
    OcpiError,
    Problem,
    RegistrationFailed,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownObject,
    UnknownToken,
    UrlRefused,
    status_error,
)

EXCHANGE = Exchange("put_location FR*ABC/LOC1", "gireve", "5f3c", 200)
PROBLEM = Problem("/evses/0/status", "type", "expected a string, found a list")


def classes() -> list[type[OcpiError]]:
    """Every error of the module."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    return [one for one in found if issubclass(one, OcpiError)]


def test_docstring_shows_the_tree() -> None:
    """The tree in the module's docstring names every error below its parent."""
    assert errors.__doc__ is not None
    path: list[str] = []
    drawn: dict[str, str] = {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│ ]*)[├└]── (\w+)|(OcpiError)$", line)
        if found:
            depth = 0 if found[3] else len(found[1]) // 4 + 1
            name = found[3] or found[2]
            drawn[name] = path[depth - 1] if depth else "Exception"
            path[depth:] = [name]
    assert drawn == {one.__name__: one.__bases__[0].__name__ for one in classes()}


@pytest.mark.parametrize(
    ("status_code", "http_status", "cls"),
    [
        (2001, 200, InvalidParameters),
        (2003, 200, UnknownLocation),
        (2004, 404, UnknownToken),
        (2004, 200, UnknownToken),
        (2001, 400, MalformedMessage),
        (2000, 401, Unauthorized),
        (2000, 403, Forbidden),
        (2000, 404, UnknownObject),
        (2001, 404, UnknownObject),
        (2000, 405, MethodNotAllowed),
        (2999, 200, ClientError),
        (2000, 200, ClientError),
        (3000, 500, ServerError),
        (3999, 200, ServerError),
        (4002, 200, HubTimeout),
        (4999, 200, HubError),
        (4001, 404, errors.UnknownReceiver),
        (0, 200, ServerError),
        (-1, 200, ServerError),
        (10**30, 200, ServerError),
        (1000, 404, UnknownObject),
    ],
)
def test_status_error(status_code: int, http_status: int, cls: type[StatusError]) -> None:
    """A code that names its reason decides, a generic one leaves it to the HTTP status; codes are kept."""
    error = status_error(status_code, http_status)
    assert type(error) is cls
    assert (error.status_code, error.http_status) == (status_code, http_status)
    assert error.message == cls.text


def test_each_reason_has_its_class() -> None:
    """An error that a handler raises is the one that is raised at the caller."""
    for cls in classes():
        if issubclass(cls, StatusError) and cls is not StatusError:
            error = cls()
            assert type(status_error(error.status_code, error.http_status)) is cls


def test_status_error_says_what_happened() -> None:
    """The text names the operation, the partner, the status and the request."""
    raised = InvalidParameters("Invalid id")
    assert str(raised) == "Invalid id (OCPI 2001, HTTP 200)"
    received = status_error(2001, 200, "Invalid id", EXCHANGE)
    assert str(received) == (
        "put_location FR*ABC/LOC1: gireve answered 2001 'Invalid id' (HTTP 200, request 5f3c)"
    )


def test_problems_make_the_message() -> None:
    """Without words of its own, an error lists its problems, the first five of them."""
    error = InvalidParameters(problems=[PROBLEM])
    assert error.message == "/evses/0/status: expected a string, found a list"
    many = DecodeError("Location", [PROBLEM] * 7)
    assert str(many).startswith("not a Location: /evses/0/status: expected")
    assert str(many).endswith("; and 2 more")
    assert len(many.problems) == 7
    assert str(Problem("", "json", "expected JSON")) == "(document): expected JSON"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DecodeError("Token", [PROBLEM]), "not a Token: /evses/0/status: expected a string, found a list"),
        (
            InvalidObject("EVSE", [PROBLEM]),
            "not a valid EVSE: /evses/0/status: expected a string, found a list",
        ),
        (BadAnswer("sent HTML", http_status=502), "sent HTML (HTTP 502)"),
        (
            BadAnswer("sent HTML", http_status=200, exchange=EXCHANGE),
            "put_location FR*ABC/LOC1: gireve sent HTML (HTTP 200, request 5f3c)",
        ),
        (NoAnswer("did not answer in 30 s"), "did not answer in 30 s"),
        (
            NotSent("could not be reached", exchange=Exchange("get_versions", "gireve", "1")),
            "get_versions: gireve could not be reached (request 1)",
        ),
        (UrlRefused("response_url", "not https"), "response_url: not https"),
        (RegistrationFailed("GET versions", "answered 401"), "GET versions: answered 401"),
        (
            RegistrationFailed("GET versions", "answered 401.", "Ask for a new token A."),
            "GET versions: answered 401. Ask for a new token A.",
        ),
    ],
)
def test_sentence(error: OcpiError, text: str) -> None:
    """The text of an error says what was attempted, with whom, and what came back."""
    assert str(error) == text


def test_decoding_errors_are_value_errors() -> None:
    """Code that knows nothing of OCPI may catch them as what they are in Python."""
    assert issubclass(DecodeError, ValueError)
    assert issubclass(InvalidObject, ValueError)
