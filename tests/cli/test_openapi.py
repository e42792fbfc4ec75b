from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ocpi_gireve import v211, v221
from ocpi_gireve.cli._group import group
from ocpi_gireve.dialect import Dialect
from ocpi_gireve.openapi import document


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(group, ["openapi", *arguments], prog_name="ocpi-gireve")


def printed(*arguments: str) -> dict[str, Any]:
    """The document that the command prints."""
    done = run(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("arguments", "dialect"),
    [([], v221.DIALECT), (["--version", "2.2.1"], v221.DIALECT), (["--version", "2.1.1"], v211.DIALECT)],
)
def test_version(arguments: list[str], dialect: Dialect) -> None:
    """The document of the version asked for is printed as JSON; 2.2.1 is meant without it."""
    assert printed(*arguments) == json.loads(json.dumps(document(dialect)))


def test_interfaces_and_url() -> None:
    """Only the interfaces that are named, in any case, are described, below the URL that is given."""
    whole = printed(
        "--interface", "LocationsReceiver", "--interface", "cdrsreceiver", "--url", "https://a.example/x"
    )
    assert whole["servers"] == [{"url": "https://a.example/x"}]
    assert {one["name"] for one in whole["tags"]} == {
        "VersionsInterface",
        "CredentialsInterface",
        "LocationsReceiver",
        "CdrsReceiver",
    }


def test_unknown_interface() -> None:
    """An unknown interface is told in one line with those there are, and status 2."""
    done = run("--version", "2.1.1", "--interface", "LocationsReceiver")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "ocpi-gireve openapi: OCPI 2.1.1 has no interface 'LocationsReceiver'; it has CdrsCpo, CdrsEmsp"
    )
    assert done.stderr.count("\n") == 1


def test_unknown_version() -> None:
    """A version that is not spoken is refused with status 2."""
    assert run("--version", "2.3.0").exit_code == 2


def test_as_a_program() -> None:
    """Standard output holds the document alone, in UTF-8."""
    code = "from ocpi_gireve.cli import main; main()"
    command = (sys.executable, "-X", "utf8", "-c", code, "openapi", "--interface", "CdrsSender")
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    assert json.loads(done.stdout)["openapi"] == "3.1.0"
    assert done.stderr == ""
