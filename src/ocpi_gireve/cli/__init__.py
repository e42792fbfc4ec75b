"""The command line's entry point, which answers even without click and rich. It knows no command."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run `ocpi-gireve` with the arguments of the process, and exit with its status.

    Without the packages of the extra `cli`, one line on standard error says what to install, and the status
    is 2.
    """
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        needed = " and ".join(missing)
        sys.stderr.write(f"ocpi-gireve: {needed} not installed; run: pip install 'ocpi-gireve[cli]'\n")
        sys.exit(2)
    from ._group import group  # noqa: PLC0415 - needs click

    group(prog_name="ocpi-gireve")
