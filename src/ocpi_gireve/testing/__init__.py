"""Fakes and sample objects for the tests of host applications; no part of what runs in production."""

from __future__ import annotations

from .samples import sample, samples

__all__ = ["sample", "samples"]
