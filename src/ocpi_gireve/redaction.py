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

SECRET_HEADERS = re.compile(r"(?!www-).*(auth|cookie|key|secret|signature|token)", re.IGNORECASE)
"""Headers whose value is hidden whole: OCPI's own, and what gateways on the way add in their place."""

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

SHOWN_IN_QUERIES = frozenset({"date_from", "date_to", "offset", "limit", "type", "tokenType", "duration"})
"""Parts of a query that say nothing of a driver, and open nothing."""
_SCHEMES = frozenset({"token", "basic", "bearer"})

_BELOW_TOKENS = re.compile(r"(.*?/tokens/)(.+)", re.IGNORECASE | re.DOTALL)
_TARGET_OF_A_LINK = re.compile(r"(?<=<)[^>]*(?=>)")
_WORD = re.compile(r"[A-Za-z_-]{1,32}")
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

    def headers(self, headers: CIMultiDict[str], *, module: str = "") -> list[tuple[str, str]]:
        """Return headers as they may be shown; of `Authorization` a known scheme stays.

        Args:
            headers: Of a request or an answer.
            module: The OCPI module that they belong to, as for `url`.
        """
        shown: list[tuple[str, str]] = []
        for name, value in headers.items():
            if SECRET_HEADERS.match(name):
                scheme, _, rest = value.partition(" ")
                known = rest and scheme.lower() in _SCHEMES
                text = f"{scheme} {self.mark(rest)}" if known else self.mark(value)
            elif name.lower() == "link" and "<" in value:
                text = _TARGET_OF_A_LINK.sub(lambda found: self.url(found[0], module=module), value)
            elif name.lower() in ("link", "location"):
                text = self.url(value, module=module)
            else:
                text = value
            # Names come as a subclass of str that JSON encoders do not know.
            shown.append((str(name), _writable(text)))
        return shown

    def url(self, url: str, *, module: str = "") -> str:
        """Return a URL as it may be shown: without the uid of a token and without what its query may carry.

        Args:
            url: Absolute, or path and query.
            module: The OCPI module that it belongs to: a partner's tokens need not lie below ``/tokens``.
        """
        path, mark, query = _writable(url).partition("?")
        path = self._path(path, module)
        if not mark:
            return path
        pairs = [self._part(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
        return f"{path}?{urlencode(pairs, safe=':/', quote_via=quote)}"

    def _path(self, path: str, module: str) -> str:
        if found := _BELOW_TOKENS.fullmatch(path):
            return found[1] + self._place(found[2])
        if module != "tokens":
            return path
        begin = path.rstrip("/").removesuffix("/authorize").rfind("/") + 1
        return path[:begin] + self._place(path[begin:])

    def _place(self, place: str) -> str:
        """Return what follows the endpoint of tokens: owner and ``authorize`` stay, all else is hidden."""
        parts = place.split("/")
        owner = 2 if len(parts) > 2 and [len(part) for part in parts[:2]] == [2, 3] else 0
        return "/".join(
            part
            if not part or number < owner or (number and part == "authorize")
            else quote(self.mark(unquote(part)))
            for number, part in enumerate(parts)
        )

    def _part(self, name: str, value: str) -> tuple[str, str]:
        if name == "response_url":
            return name, _without_query(value)
        if name in SHOWN_IN_QUERIES:
            return name, value
        return name if _WORD.fullmatch(name) else self.mark(name), self.mark(value)

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
            if name in HIDDEN and not (evse and name == "uid"):
                # In commands, `token` is an object.
                is_object = name == "token" and isinstance(item, dict)
                shown[name] = self._shown(item, evse=evse) if is_object else self._hidden(item)
            elif isinstance(item, str) and name == "response_url":
                shown[name] = _without_query(item)
            else:
                shown[name] = self._shown(item, evse=evse or name == _EVSES)
        return shown

    def _hidden(self, value: Json) -> Json:
        """Hide every text and number of a value: a uid may come as a number, or where it should not."""
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if isinstance(value, dict):
            return {name: self._hidden(item) for name, item in value.items()}
        return value if value is None or isinstance(value, bool) else self.mark(str(value))


def _writable(text: str) -> str:
    """Replace what no encoder writes: bytes that were no UTF-8 come from the wire as halves of pairs."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_query(url: str) -> str:
    return _QUERY_IN_TEXT.sub("?...", url)
