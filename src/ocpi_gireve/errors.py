"""Every error of the library, as one tree; knows nothing of how errors travel.

```
OcpiError
├── StatusError                 an OCPI status other than 1xxx; raised by handlers, and at the caller
│   ├── ClientError             2000 and other 2xxx
│   │   ├── InvalidParameters        2001
│   │   ├── NotEnoughInformation     2002
│   │   ├── UnknownLocation          2003
│   │   ├── UnknownToken             2004
│   │   ├── MalformedMessage         HTTP 400
│   │   ├── Unauthorized             HTTP 401
│   │   ├── Forbidden                HTTP 403
│   │   ├── UnknownObject            HTTP 404
│   │   ├── MethodNotAllowed         HTTP 405
│   │   └── MessageTooLarge          HTTP 413
│   ├── ServerError             3000 and other 3xxx
│   │   ├── UnusableClientApi        3001
│   │   ├── UnsupportedVersion       3002
│   │   └── NoMatchingEndpoints      3003
│   └── HubError                4000 and other 4xxx
│       ├── UnknownReceiver          4001
│       ├── HubTimeout               4002
│       └── ReceiverNotConnected     4003
├── DecodeError                 bytes that are not the object they should be, with every problem
├── InvalidObject               an object of ours that breaks the specification, refused at construction
├── BadAnswer                   an answer that is not OCPI at all
├── NoAnswer                    no complete answer arrived
│   └── NotSent                      not one byte of the request left
│       └── NotTrusted                   TLS did not vouch for the partner
├── UrlRefused                  a URL that must not be called
├── NotRegistered               the connection has no credentials
│   └── NotServed               the partner does not serve the module, or not in that version
├── RegistrationFailed          the handshake did not come to its end
└── StoreError                  the store could not keep what it was given
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen


@frozen
class Problem:
    """One departure from what was expected, at one place.

    Attributes:
        pointer: Where, as a JSON pointer (RFC 6901): ``/evses/0/status``; empty for the whole document.
        code: What, for programs: ``missing``, ``type``, ``max-length``, ...
        message: What was expected and what kind of thing was found; never the value itself.
        reference: The chapter of the specification, where there is one.
    """

    pointer: str
    code: str
    message: str
    reference: str = ""

    def __str__(self) -> str:
        return f"{self.pointer or '(document)'}: {self.message}"


@frozen
class Exchange:
    """Which exchange an error belongs to: enough to find it in both sides' logs."""

    operation: str
    partner: str
    request_id: str
    http_status: int | None = None

    def __str__(self) -> str:
        status = f"HTTP {self.http_status}, " if self.http_status is not None else ""
        return f"{status}request {self.request_id}"


class OcpiError(Exception):
    """Anything that this library raises on purpose."""

    exchange: Exchange | None = None


def _listed(problems: Sequence[Problem]) -> str:
    shown = "; ".join(str(problem) for problem in problems[:5])
    return shown + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")


class StatusError(OcpiError):
    """An OCPI status other than success.

    A handler raises it, and the same class is raised at the caller. (status codes chapter)

    Attributes:
        status_code: The OCPI status code.
        http_status: The HTTP status that carries it.
        message: The text for the partner's engineers; it goes out as ``status_message``.
        problems: What exactly was wrong with the message, if that was the reason.
        exchange: The exchange it belongs to; None where it did not come from a partner.
    """

    code: ClassVar[int]
    http: ClassVar[int] = 200
    text: ClassVar[str]

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        http_status: int | None = None,
        problems: Sequence[Problem] = (),
        exchange: Exchange | None = None,
    ) -> None:
        self.status_code = self.code if status_code is None else status_code
        self.http_status = self.http if http_status is None else http_status
        self.problems = tuple(problems)
        self.message = message or (_listed(self.problems) if problems else self.text)
        self.exchange = exchange
        super().__init__(self.message)

    def __str__(self) -> str:
        if self.exchange is None:
            return f"{self.message} (OCPI {self.status_code}, HTTP {self.http_status})"
        place = self.exchange
        return f"{place.operation}: {place.partner} answered {self.status_code} {self.message!r} ({place})"


class ClientError(StatusError):
    """2xxx: the request was wrong."""

    code = 2000
    text = "Generic client error"


class InvalidParameters(ClientError):
    """2001: invalid or missing parameters."""

    code = 2001
    text = "Invalid or missing parameters"


class NotEnoughInformation(ClientError):
    """2002: not enough information, such as an authorization request without a location."""

    code = 2002
    text = "Not enough information"


class UnknownLocation(ClientError):
    """2003: the location, EVSE or connector is unknown."""

    code = 2003
    text = "Unknown Location"


class UnknownToken(ClientError):
    """2004: the token is unknown. (tokens chapter: HTTP 404)"""

    code = 2004
    http = 404
    text = "Unknown Token"


class MalformedMessage(ClientError):
    """HTTP 400: the body is not JSON, or a header or parameter cannot be read."""

    code = 2001
    http = 400
    text = "Malformed message"


class Unauthorized(ClientError):
    """HTTP 401: no token, an unknown one, or one that does not open this endpoint."""

    http = 401
    text = "expected one header Authorization: Token <a valid credentials token>"


class Forbidden(ClientError):
    """HTTP 403: the party may not do this."""

    http = 403
    text = "Forbidden"


class UnknownObject(ClientError):
    """HTTP 404: there is no such object, or it belongs to somebody else."""

    http = 404
    text = "Unknown object"


class MethodNotAllowed(ClientError):
    """HTTP 405: not now, or not here; for credentials: already registered, or not registered."""

    http = 405
    text = "Method not allowed"


class MessageTooLarge(ClientError):
    """HTTP 413: the body is longer than this platform accepts."""

    http = 413
    text = "Message too large"


class ServerError(StatusError):
    """3xxx: the server could not do its part."""

    code = 3000
    text = "Generic server error"


class UnusableClientApi(ServerError):
    """3001: the other side's own interface could not be used, as the handshake needs."""

    code = 3001
    text = "Unable to use the client's API"


class UnsupportedVersion(ServerError):
    """3002: no common version."""

    code = 3002
    text = "Unsupported version"


class NoMatchingEndpoints(ServerError):
    """3003: the parties have no matching endpoints."""

    code = 3003
    text = "No matching endpoints or expected endpoints missing between parties"


class HubError(StatusError):
    """4xxx: the hub could not pass the message on."""

    code = 4000
    text = "Generic hub error"


class UnknownReceiver(HubError):
    """4001: the hub does not know the party addressed."""

    code = 4001
    text = "Unknown receiver"


class HubTimeout(HubError):
    """4002: the party addressed did not answer the hub in time."""

    code = 4002
    text = "Timeout on forwarded request"


class ReceiverNotConnected(HubError):
    """4003: the party addressed is not connected to the hub."""

    code = 4003
    text = "Connection problem"


_BY_CODE: dict[int, type[StatusError]] = {
    error.code: error
    for error in (
        ClientError,
        InvalidParameters,
        NotEnoughInformation,
        UnknownLocation,
        UnknownToken,
        ServerError,
        UnusableClientApi,
        UnsupportedVersion,
        NoMatchingEndpoints,
        HubError,
        UnknownReceiver,
        HubTimeout,
        ReceiverNotConnected,
    )
}
_BY_HTTP: dict[int, type[StatusError]] = {
    error.http: error
    for error in (MalformedMessage, Unauthorized, Forbidden, UnknownObject, MethodNotAllowed, MessageTooLarge)
}
_BY_RANGE: dict[int, type[StatusError]] = {2: ClientError, 3: ServerError, 4: HubError}


def status_error(
    status_code: int, http_status: int, message: str = "", exchange: Exchange | None = None
) -> StatusError:
    """Make the error that an answer's OCPI and HTTP status stand for.

    A code that names its reason decides; a generic one leaves the choice to the HTTP status.
    """
    found = _BY_CODE.get(status_code)
    if found is None or found in (ClientError, InvalidParameters):
        found = _BY_HTTP.get(http_status, found)
    if found is None:
        found = _BY_RANGE.get(status_code // 1000, ServerError)
    return found(message, status_code=status_code, http_status=http_status, exchange=exchange)


class DecodeError(OcpiError, ValueError):
    """Bytes, or JSON, that are not the object they should be.

    Attributes:
        expected: The name of the class that was expected.
        problems: Every problem found, each with its JSON pointer.
        malformed: True where the bytes are not acceptable JSON at all, so there is no object to speak of.
    """

    def __init__(self, expected: str, problems: Sequence[Problem], *, malformed: bool = False) -> None:
        self.expected = expected
        self.problems = tuple(problems)
        self.malformed = malformed
        super().__init__(f"not a {expected}: {_listed(self.problems)}")


class InvalidObject(OcpiError, ValueError):
    """An object of ours that breaks the specification; raised while it is built.

    Attributes:
        model: The name of the class.
        problems: What is wrong, with the pointer inside the object.
    """

    def __init__(self, model: str, problems: Sequence[Problem]) -> None:
        self.model = model
        self.problems = tuple(problems)
        super().__init__(f"not a valid {model}: {_listed(self.problems)}")


class BadAnswer(OcpiError):
    """An answer that is not an OCPI answer: another format, a missing envelope, a maintenance page.

    Attributes:
        reason: What was expected and what came.
        http_status: The HTTP status of the answer.
    """

    def __init__(self, reason: str, *, http_status: int, exchange: Exchange | None = None) -> None:
        self.reason = reason
        self.http_status = http_status
        self.exchange = exchange
        place = f"{exchange.operation}: {exchange.partner} " if exchange else ""
        super().__init__(f"{place}{reason} ({exchange or f'HTTP {http_status}'})")


class NoAnswer(OcpiError):
    """No complete answer arrived; the partner may or may not have acted on the request."""

    def __init__(self, reason: str, *, exchange: Exchange | None = None) -> None:
        self.reason = reason
        self.exchange = exchange
        place = f"{exchange.operation}: {exchange.partner} " if exchange else ""
        super().__init__(f"{place}{reason} ({exchange})" if exchange else reason)


class NotSent(NoAnswer):
    """Not one byte of the request left: no connection could be made."""


class NotTrusted(NotSent):
    """TLS did not vouch for the partner: its certificate is unknown, expired, or another host's."""


class UrlRefused(OcpiError):
    """A URL that must not be called: another origin, not https, an address that is not public.

    Attributes:
        source: Where the URL came from: ``credentials.url``, ``Link``, ``response_url``, ...
        reason: Why it is refused; the URL's own query is never shown.
    """

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason
        super().__init__(f"{source}: {reason}")


class NotRegistered(OcpiError):
    """The connection has no credentials, or its partner does not offer what was called."""


class NotServed(NotRegistered):
    """The partner is registered, but does not serve the module, or not in the version of the message."""


class RegistrationFailed(OcpiError):
    """The handshake did not come to its end.

    Attributes:
        step: The step that failed, such as ``GET versions``.
        advice: What to do about it.
    """

    def __init__(self, step: str, reason: str, advice: str = "") -> None:
        self.step = step
        self.advice = advice
        super().__init__(f"{step}: {reason}" + (f" {advice}" if advice else ""))


class StoreError(OcpiError):
    """The store could not keep, or could not give back, what it was asked for."""
