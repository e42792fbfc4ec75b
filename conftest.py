"""Runs the Python blocks of the README and of the documentation as tests. It knows nothing of the library.

The blocks of a page share one namespace and one event loop, and run in order. `await` is allowed at the
top level. A block fenced as `output` is what the block before it printed; in it, `...` stands for any text.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
from collections.abc import Coroutine
from types import CodeType, FunctionType
from typing import Any, cast

from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser

RUNNER, PRINTED = "__runner__", "__printed__"


def open_page(namespace: dict[str, Any]) -> None:
    """Give the page its event loop, and the classes it defines a module name."""
    namespace["__name__"] = "page"
    namespace[RUNNER] = asyncio.Runner()


def close_page(namespace: dict[str, Any]) -> None:
    """End the page's event loop, with what its blocks left running."""
    cast("asyncio.Runner", namespace[RUNNER]).close()


def run_block(example: Example) -> None:
    """Run a block of Python, and keep what it prints."""
    namespace = example.namespace
    # The blank lines make a traceback name the line of the page.
    source = "\n" * (example.line + example.parsed.line_offset) + str(example.parsed)
    code = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_code(code, namespace)
    namespace[PRINTED] = printed.getvalue()


def run_code(code: CodeType, namespace: dict[str, Any]) -> None:
    """Run compiled code in a namespace, on the page's event loop where it awaits something."""
    result: object = FunctionType(code, namespace)()
    if inspect.iscoroutine(result):
        runner = cast("asyncio.Runner", namespace[RUNNER])
        runner.run(cast("Coroutine[Any, Any, None]", result))


def compare_output(example: Example) -> str | None:
    """Say how the text of a block differs from what the block before it printed, if it does."""
    wanted, printed = str(example.parsed), str(example.namespace.pop(PRINTED, ""))
    checker = doctest.OutputChecker()
    if checker.check_output(wanted, printed, doctest.ELLIPSIS):
        return None
    return checker.output_difference(doctest.Example("", wanted), printed, doctest.REPORT_NDIFF)


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_block),
        CodeBlockParser(language="output", evaluator=compare_output),
    ],
    # Matched from the right: every page, however deep.
    patterns=["*.md"],
    excludes=["docs/_build/*"],
    setup=open_page,
    teardown=close_page,
).pytest()
