"""What may be shown of an exchange: everything but secrets and personal data; knows no operation.

A hidden value leaves a mark in its place: its kind, its length and the first digits of a keyed hash. The same
value leaves the same mark, so that one driver's charge can be followed without knowing the driver.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from urllib.parse import parse_qsl, quote, unquote, urlencode

from multidict import CIMultiDict

from ._codec import dump_json, parse_json
from .errors import DecodeError
from .types import Json

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
"""Headers whose value is hidden whole."""

HIDDEN = frozenset(
    {
        "token",
        "uid",
        "auth_id",
        "contract_id",
        "visual_number",
        "group_id",
        "authorization_id",
        "authorization_reference",
        "license_plate",
        "signed_data",
        "plain_data",
        "public_key",
    }
)
"""Properties whose text is hidden: the credentials token, and what names a driver or a driver's charge."""

_EVSES = "evses"
"""In these, and in the locations module, `uid` names an EVSE."""

_TOKEN_IN_PATH = re.compile(r"(/tokens/(?:[^/?]{2}/[^/?]{3}/)?)([^/?]+)")
_QUERY_IN_TEXT = re.compile(r"\?.*", re.DOTALL)


class Redactor:
    """Hides secrets and personal data.

    Args:
        key: The key of the marks' hash: 16 bytes or more. By default a new random one, so that marks of two
            processes cannot be compared.

    Raises:
        ValueError: the key is too short to keep a guesser from trying every card number.
    """

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and len(key) < 16:
            raise ValueError("expected a key of 16 bytes or more")
        self._key = key or secrets.token_bytes(32)

    def mark(self, value: str) -> str:
        """Return what is shown in the place of a value."""
        digest = hashlib.blake2b(value.encode(errors="replace"), digest_size=4, key=self._key[:64])
        return f"<hidden {len(value)} {digest.hexdigest()}>"

    def headers(self, headers: CIMultiDict[str]) -> list[tuple[str, str]]:
        """Return headers as they may be shown; of `Authorization` the scheme stays."""
        shown: list[tuple[str, str]] = []
        for name, value in headers.items():
            if name.lower() in SECRET_HEADERS:
                scheme, _, rest = value.partition(" ")
                text = f"{scheme} {self.mark(rest)}" if rest else self.mark(value)
            elif name.lower() in ("link", "location"):
                text = self.url(value)
            else:
                text = value
            # Names come as a subclass of str that JSON encoders do not know.
            shown.append((str(name), text))
        return shown

    def url(self, url: str) -> str:
        """Return a URL as it may be shown: without the uid of a token and what callbacks carry in a query."""
        path, mark, query = url.partition("?")
        path = _TOKEN_IN_PATH.sub(lambda found: found[1] + quote(self.mark(unquote(found[2]))), path)
        if not mark or ">" in query:
            # The query of a Link header holds no more than the place in a listing.
            return f"{path}{mark}{query}"
        pairs = [
            (name, _without_query(value) if name == "response_url" else value)
            for name, value in parse_qsl(query, keep_blank_values=True)
        ]
        return f"{path}?{urlencode(pairs, safe=':/', quote_via=quote)}"

    def body(self, body: bytes, *, module: str = "", limit: int = 16_384) -> str:
        """Return a body as it may be shown.

        Args:
            body: JSON, or anything else, of which the length alone is shown.
            module: The OCPI module that it belongs to: in locations, `uid` names an EVSE.
            limit: Of a longer body the length alone is shown, too: to look through it takes time.
        """
        if not body:
            return ""
        if len(body) > limit:
            return f"<{len(body)} bytes>"
        try:
            value = parse_json(body)
        except DecodeError:
            return f"<{len(body)} bytes that are no JSON>"
        return dump_json(self._shown(value, evse=module == "locations")).decode()

    def _shown(self, value: Json, *, evse: bool) -> Json:
        if isinstance(value, list):
            return [self._shown(item, evse=evse) for item in value]
        if not isinstance(value, dict):
            return value
        shown: dict[str, Json] = {}
        for name, item in value.items():
            if isinstance(item, str) and name in HIDDEN and not (evse and name == "uid"):
                shown[name] = self.mark(item)
            elif isinstance(item, str) and name == "response_url":
                shown[name] = _without_query(item)
            else:
                shown[name] = self._shown(item, evse=evse or name == _EVSES)
        return shown


def _without_query(url: str) -> str:
    return _QUERY_IN_TEXT.sub("?...", url)
