"""Looks for what must never be shown: in log records, errors and objects of ours. A plugin of pytest, too.

A canary is a secret or personal text that was planted where a partner or a host would put one. `Watch` hears
every log record at any level and keeps every error of the library; `shown` says where a canary came out.

`python -m pytest -p tests.security.canary --canary` watches a whole run: every credentials token that is made
meanwhile is one of the canaries, and so are the tokens of drivers that most tests have.
"""

from __future__ import annotations

import base64
import gc
import io
import logging
import secrets as random_texts
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest
from attrs import Factory, define

from ocpi_gireve import tokens
from ocpi_gireve.errors import OcpiError
from ocpi_gireve.logs import JsonFormatter

MARK = "cAnArY"
"""What every credentials token begins with that is made while a whole run is watched."""
USUAL = ("01020304050607", "FR-EMP-C00000001", "token-a-of-the-tests-0123456789")
"""What most tests have for a driver's token, its contract, and a token A."""


def forms(text: str) -> set[str]:
    """The ways in which a text may come out."""
    return {text, quote(text, safe=""), base64.b64encode(text.encode()).decode()}


@define
class Watch:
    """What was said and raised since it started.

    Attributes:
        canaries: The texts to look for.
        said: Log records, formatted as the standard library and as structured handlers do.
        raised: Errors of the library.
    """

    canaries: set[str] = Factory(set[str])
    said: list[str] = Factory(list[str])
    raised: list[OcpiError] = Factory(list[OcpiError])

    def plant(self, *texts: str) -> None:
        """Look for these texts from now on."""
        for text in texts:
            self.canaries |= forms(text)

    def shown(self) -> list[str]:
        """Where a canary came out: in a log record, or in what an error says of itself."""
        return [*self.among(self.said), *self.among(one for error in self.raised for one in told(error))]

    def among(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield those texts that hold a canary."""
        for text in texts:
            if any(canary in text for canary in self.canaries):
                yield text

    def clear(self) -> None:
        """Forget what was said and raised."""
        self.said.clear()
        self.raised.clear()


class Ear(logging.Handler):
    """Hears every record."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.NOTSET)
        self._watch = watch
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as text: the message, the traceback, and the arguments by themselves."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        lines = self.format(record), JSON_LINES.format(record), repr(record.args), repr(extra)
        self._watch.said.append("\n".join(lines))


JSON_LINES = JsonFormatter()
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) - {"exc_info"}


def told(error: BaseException) -> Iterator[str]:
    """Yield what an error, and what it came from, says of itself, and what a traceback of it shows."""
    one: BaseException | None = error
    while one is not None:
        yield f"{one!r} {one!s} {vars(one)!r} {one.args!r}"
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    printed = io.StringIO()
    traceback.print_exception(error, file=printed, chain=True)
    yield printed.getvalue()


def objects_of_ours() -> Iterator[str]:
    """Yield repr and str of every object there is whose class is a public one of the library."""
    ours: dict[int, bool] = {}
    for one in gc.get_objects():
        kind = cast("type[object]", type(one))
        if id(kind) not in ours:
            name = f"{kind.__module__}.{kind.__name__}"
            ours[id(kind)] = name.startswith("ocpi_gireve.") and "._" not in name
        if ours[id(kind)]:
            # What a failed decoding has left behind is not complete enough to be shown.
            with suppress(AttributeError):
                yield f"{kind.__qualname__}: {one!r} {one!s}"


@contextmanager
def watching(watch: Watch) -> Generator[None]:
    """Hear and keep everything meanwhile."""

    def keep(cls: type[OcpiError], *args: object, **_: object) -> OcpiError:
        error = Exception.__new__(cls, *args)
        watch.raised.append(error)
        return error

    root, ear = logging.getLogger(), Ear(watch)
    levels = {name: logging.getLogger(name).level for name in ("", "ocpi_gireve", "aiohttp", "asyncio")}
    made: Any = OcpiError
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(made, "__new__", keep, raising=False)
        for name in levels:
            logging.getLogger(name).setLevel(logging.DEBUG)
        root.addHandler(ear)
        try:
            yield
        finally:
            root.removeHandler(ear)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


# --- a whole run -------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that switches the watch on."""
    parser.addoption("--canary", action="store_true", help="watch for secrets in logs and errors")


@pytest.fixture(autouse=True)
def no_canary_comes_out(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail a test during which a canary came out."""
    if not request.config.getoption("--canary"):
        yield
        return

    def marked(size: int) -> str:
        return MARK + random_texts.token_urlsafe(size)[len(MARK) :]

    def as_usual(record: logging.LogRecord) -> bool:
        level = caplog.handler.level or logging.WARNING
        return record.levelno >= level

    monkeypatch.setattr(tokens, "secrets", SimpleNamespace(token_urlsafe=marked))
    # What a test hears of the log must not be more than without the watch.
    caplog.handler.addFilter(as_usual)
    watch = Watch()
    watch.plant(MARK, *USUAL)
    with watching(watch):
        yield
    caplog.handler.removeFilter(as_usual)
    found = watch.shown()
    if found:
        pytest.fail("a canary came out:\n" + "\n".join(found), pytrace=False)
