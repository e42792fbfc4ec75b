"""The server: requests in, handler calls, answers out; opens no socket."""

from __future__ import annotations

from ._answers import MAX_NAMED
from ._late import COMMAND_ACK, LateOutcome
from ._routes import Mount
from ._server import HandshakeContext, Principals, Server

__all__ = [
    "COMMAND_ACK",
    "MAX_NAMED",
    "HandshakeContext",
    "LateOutcome",
    "Mount",
    "Principals",
    "Server",
]
