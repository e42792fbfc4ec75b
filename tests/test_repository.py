from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import ocpi_gireve

SET_UP = (
    "python3 -m pip install nox && python3 -m nox -s demo",
    "python3 -m pip install nox && python3 -m nox -s tests",
)
FENCE = re.compile(r"^ *(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)


def pages(repository: Path) -> list[Path]:
    """The README and every page of the documentation."""
    docs = [page for page in repository.joinpath("docs").rglob("*.md") if "_build" not in page.parts]
    return [repository / "README.md", *sorted(docs)]


def section(text: str, title: str) -> str:
    """The text below a heading of second level, up to the next one."""
    _, _, rest = text.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def run_fresh(code: str) -> str:
    """What a new interpreter prints when it runs this code."""
    command = (sys.executable, "-W", "error", "-c", code)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_readme_set_up(repository: Path) -> None:
    """The README's set-up is two commands: one runs the demonstration, one the tests."""
    readme = (repository / "README.md").read_text("utf-8")
    commands = re.findall(r"```sh\n(.*?)```", section(readme, "Set-up"), re.DOTALL)
    assert tuple(command.strip() for command in commands) == SET_UP
    assert readme.count("pip install") == len(SET_UP)


def test_readme_commands_name_sessions(repository: Path) -> None:
    """Each session that the README names exists."""
    noxfile = (repository / "noxfile.py").read_text("utf-8")
    for command in SET_UP:
        assert f"@nox.session\ndef {command.split()[-1]}(" in noxfile


def test_changelog_top(repository: Path) -> None:
    """The changelog's first section is this version's, released or about to be."""
    changelog = (repository / "CHANGELOG.md").read_text("utf-8")
    top = re.search(r"^## \[(.+?)\](.*(?:\n(?!## ).*)*)", changelog, re.MULTILINE)
    assert top is not None
    title, text = top.groups()
    if title == "Unreleased":
        assert f"Will be released as {ocpi_gireve.__version__}." in text
    else:
        assert title == ocpi_gireve.__version__
        assert re.match(r" - \d{4}-\d{2}-\d{2}$", text.splitlines()[0])


def test_version_has_one_source(repository: Path) -> None:
    """The version is written in `_version.py` alone, and the package's metadata is computed from it."""
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    assert "version" not in pyproject["project"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "src/ocpi_gireve/_version.py"


def test_installed_version() -> None:
    """An installed package says the same version as its metadata."""
    try:
        installed = metadata.version("ocpi-gireve")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed: it is imported from src")
    assert installed == ocpi_gireve.__version__


def test_blocks_are_executed_or_no_python(repository: Path) -> None:
    """No Python block escapes execution by another spelling of its language, or by having none."""
    for page in pages(repository):
        fences = [match[2].strip() for match in FENCE.finditer(page.read_text("utf-8"))]
        opening = fences[::2]
        known = {"python", "output", "sh", "json", "text", "toml", "http"}
        unknown = [name for name in opening if name not in known and not name.startswith("{")]
        assert (page.name, unknown) == (page.name, [])


def test_import_is_quiet() -> None:
    """Importing the package opens no connection, starts no thread, and imports no terminal package."""
    code = """
import sys, threading
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import ocpi_gireve
print(opened, threading.active_count(), sorted({"click", "rich"} & set(sys.modules)))
"""
    assert run_fresh(code) == "[] 1 []"


def test_gate_runs_the_readme(repository: Path) -> None:
    """The gate can be run, stops at the first failure, and takes its commands from the README."""
    gate = repository / ".ci" / "run"
    assert gate.stat().st_mode & 0o111
    text = gate.read_text("utf-8")
    assert "set -euo pipefail" in text
    assert "README.md" in text
