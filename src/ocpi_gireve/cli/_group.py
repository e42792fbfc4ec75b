"""The group of all commands, which finds each in the module of its name. It knows what none of them does.

A command is added by adding a module: `ocpi_gireve/cli/demo.py` defines `command`, a `click.Command`, and
`ocpi-gireve demo` runs it. A module whose name starts with `_` holds no command; `_` within a name is typed
as `-`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click

from .. import cli
from .._version import __version__

__all__ = ["Commands", "group"]


class Commands(click.Group):
    """A group that imports a command only when it is run or listed, so that each starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in alphabetical order."""
        found = {
            module.name.replace("_", "-")
            for module in pkgutil.iter_modules(cli.__path__)
            if not module.name.startswith("_")
        }
        return sorted(found.union(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None where there is none.

        Raises:
            TypeError: the module of that name defines no `command`.
        """
        if cmd_name not in self.list_commands(ctx):
            return None
        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        module = import_module(f"{cli.__name__}.{cmd_name.replace('-', '_')}")
        command: object = getattr(module, "command", None)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}.command is not a click.Command")
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def group() -> None:
    """Roam through GIREVE's hub, IOP, over OCPI, as a CPO or an eMSP."""
