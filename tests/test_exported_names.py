from __future__ import annotations

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
