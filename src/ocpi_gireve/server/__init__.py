"""The server: requests in, handler calls, answers out; opens no socket."""

from __future__ import annotations

from ._admission import Principals
from ._answers import MAX_NAMED
from ._late import COMMAND_ACK, LateOutcome
from ._routes import Mount
from ._server import HandshakeContext, Server

__all__ = [
    "COMMAND_ACK",
    "MAX_NAMED",
    "HandshakeContext",
    "LateOutcome",
    "Mount",
    "Principals",
    "Server",
]
