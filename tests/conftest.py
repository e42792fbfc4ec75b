"""What all tests share: the repository's root, and the folder of fact tables beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fact tables of the OCPI texts, no part of the repository; skips where it is absent."""
    folder = Path(os.environ.get("OCPI_GIREVE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the fact tables are not here: set OCPI_GIREVE_SHARED to their folder")
    return folder
