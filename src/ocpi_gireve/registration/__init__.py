"""The credentials handshake in both directions, and who may come in with which token; knows no HTTP library.

Rule: the new never destroys the old until the new was seen working. Each side commits its whole step in one
transaction of the store.

| inbound token | opens | ends |
|---|---|---|
| A: given to the partner by people | the handshake | when the current one is first used, or after 24 h |
| PENDING: sent by us, not confirmed | everything, for call backs | 24 h after a refusal, or as PREVIOUS |
| CURRENT | everything | when it is replaced |
| PREVIOUS: replaced | everything | when the current one is first used, or 24 h after its own last use |

Of the outbound tokens, the one before is kept, too, until the partner uses the token that it got for the new
one: where the new one is refused, the one before is tried.
"""

from __future__ import annotations

from .directory import Change, Directory, Next
from .inbound import GRACE, Tokens
from .registrar import CALL_BACK_TIMEOUT, Registrar
from .terms import AS_PRESENTED, PIN_FIRST, AsPresented, approvals, requirements

__all__ = [
    "AS_PRESENTED",
    "CALL_BACK_TIMEOUT",
    "GRACE",
    "PIN_FIRST",
    "AsPresented",
    "Change",
    "Directory",
    "Next",
    "Registrar",
    "Tokens",
    "approvals",
    "requirements",
]
