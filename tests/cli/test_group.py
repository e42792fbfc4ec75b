from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import ocpi_gireve
from ocpi_gireve.cli._group import group


def test_version() -> None:
    """`--version` prints the name of the program and its version."""
    result = CliRunner().invoke(group, ["--version"], prog_name="ocpi-gireve")
    assert (result.exit_code, result.output) == (0, f"ocpi-gireve {ocpi_gireve.__version__}\n")


def test_help_lists_every_command() -> None:
    """`--help` imports every command, and shows each with what it is for."""
    result = CliRunner().invoke(group, ["--help"], prog_name="ocpi-gireve")
    assert result.exit_code == 0
    assert "GIREVE" in result.output
    for name in group.list_commands(click.Context(group)):
        assert f"\n  {name} " in result.output


def test_unknown_command() -> None:
    """A command that does not exist is refused with status 2."""
    result = CliRunner().invoke(group, ["no-such-command"])
    assert result.exit_code == 2
    assert "No such command" in result.output


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_extra_absent(absent: str) -> None:
    """Without click or rich, the program says in one line what to install, and exits with status 2."""
    code = f"import sys; sys.modules[{absent!r}] = None; from ocpi_gireve.cli import main; main()"
    done = subprocess.run((sys.executable, "-c", code), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ocpi-gireve: {absent} not installed; run: pip install 'ocpi-gireve[cli]'\n"
