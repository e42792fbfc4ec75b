"""`ocpi-gireve openapi`: prints the OpenAPI description of a version; what it says is made elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

import click

from .. import v211, v221
from ..dialect import Dialect
from ..interface import Interface
from ..openapi import document

_DIALECTS: Final[Mapping[str, Dialect]] = {"2.1.1": v211.DIALECT, "2.2.1": v221.DIALECT}


@click.command()
@click.option(
    "--version",
    type=click.Choice(tuple(_DIALECTS)),
    default="2.2.1",
    show_default=True,
    help="The version of OCPI.",
)
@click.option(
    "--interface",
    "names",
    multiple=True,
    metavar="NAME",
    help="An interface that is served, such as LocationsReceiver; may be repeated. Default: every one.",
)
@click.option(
    "--url",
    default="https://ocpi.example.com",
    show_default=True,
    help="The URL below which the platform serves.",
)
def command(version: str, names: tuple[str, ...], url: str) -> None:
    """Print what a platform serves, as an OpenAPI 3.1 document in JSON.

    Versions and credentials are always part of it.

    Exits with 2 where an interface is unknown.
    """
    dialect = _DIALECTS[version]
    known = {interface.__name__.lower(): interface for interface in dialect.interfaces}
    chosen: list[type[Interface]] = []
    for name in names:
        interface = known.get(name.lower())
        if interface is None:
            every = ", ".join(sorted(one.__name__ for one in dialect.interfaces))
            click.echo(
                f"ocpi-gireve openapi: OCPI {version} has no interface {name!r}; it has {every}", err=True
            )
            sys.exit(2)
        chosen.append(interface)
    described = document(dialect, chosen or None, public_url=url)
    click.echo(json.dumps(described, indent=2, ensure_ascii=False))
