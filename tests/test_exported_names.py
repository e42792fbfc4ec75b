from __future__ import annotations

import subprocess
import sys

import pytest

import ocpi_gireve

PUBLIC = {
    "BILATERAL",
    "Connection",
    "Context",
    "Link",
    "MemoryStore",
    "Page",
    "PageQuery",
    "Party",
    "PartyId",
    "Patch",
    "Platform",
    "Profile",
    "Role",
    "SqliteStore",
    "__version__",
    "gireve",
    "v211",
    "v221",
    "validate",
}


def test_public_names() -> None:
    """The package exports these names and no other: adding or removing one is a decision."""
    assert set(ocpi_gireve.__all__) == PUBLIC


def test_every_public_name_exists() -> None:
    """Every exported name can be imported, and none is listed twice."""
    assert [name for name in ocpi_gireve.__all__ if not hasattr(ocpi_gireve, name)] == []
    assert len(ocpi_gireve.__all__) == len(set(ocpi_gireve.__all__))


def test_models_alone() -> None:
    """Whoever imports the models of a version loads no HTTP library, no database and no engine."""
    heavy = "{'aiohttp', 'sqlite3', 'ocpi_gireve.platform', 'ocpi_gireve.server'}"
    program = f"import sys, ocpi_gireve.v211, ocpi_gireve.v221; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_no_other_name() -> None:
    """A name that the package does not have is refused as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Plattform'"):
        _ = getattr(ocpi_gireve, "Plattform")  # noqa: B009 - a type checker would report the attribute
    assert set(dir(ocpi_gireve)) >= PUBLIC
