"""How outbound tokens are hidden in a store; brings no cryptography of its own."""

from __future__ import annotations

from typing import Protocol


class Cipher(Protocol):
    """Encrypts the tokens that we present to partners, before they are stored.

    Both methods run on the store's own thread, inside its transaction: they should not wait for a network.
    """

    def encrypt(self, plain: bytes) -> bytes:
        """Return what may be written to the disk."""
        ...

    def decrypt(self, stored: bytes) -> bytes:
        """Return what was given to `encrypt`; raises where that is impossible."""
        ...


class PlaintextCipher:
    """No encryption: whoever reads the file, or a backup of it, can speak as this platform."""

    def encrypt(self, plain: bytes) -> bytes:
        """Return the bytes as they are."""
        return plain

    def decrypt(self, stored: bytes) -> bytes:
        """Return the bytes as they are."""
        return stored
