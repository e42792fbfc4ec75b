"""How the tokens that we present are hidden in a store; brings no cryptography of its own.

The ciphers are those of the package `cryptography`, which is loaded when one is made, and not before.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import StoreError
from ..types import Secret

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

_MAX_KEY_FILE = 65_536
"""Bytes: far more than any list of keys, and little enough to read whatever the path names."""


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


class FernetCipher:
    """Encrypts with a key that the host keeps, in a secret manager for instance.

    Fernet is AES-128 in CBC mode with HMAC-SHA-256. (https://github.com/fernet/spec)

    Args:
        key: 32 bytes in URL-safe base64, as `new_key` makes them.
        older: Keys that decrypt and no longer encrypt. To replace a key, give the new one, followed by the
            old one; once a store has been opened with both, nothing in it needs the old one.

    Raises:
        ValueError: a key that is none.
    """

    def __init__(self, key: Secret | str, *older: Secret | str) -> None:
        self._current, self._all = _fernets([key, *older])

    @staticmethod
    def new_key() -> Secret:
        """Make a key from the operating system's random bits."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - only who uses a cipher loads it

        return Secret(Fernet.generate_key().decode())

    def encrypt(self, plain: bytes) -> bytes:
        """Return the bytes encrypted with the newest key."""
        return self._all.encrypt(plain)

    def decrypt(self, stored: bytes) -> bytes:
        """Return what was encrypted with any of the keys.

        Raises:
            cryptography.fernet.InvalidToken: with none of them.
        """
        return self._all.decrypt(stored)

    def is_current(self, stored: bytes) -> bool:
        """Tell whether the newest key encrypted this."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - as above

        try:
            self._current.decrypt(stored)
        except InvalidToken:
            return False
        return True


class KeyFile:
    """Encrypts as `FernetCipher` does, with the keys in a file: one in each line, the newest first.

    The file is made where it is missing, and must be its owner's alone; on Windows, the folder's permissions
    decide who can read it.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._cipher: FernetCipher | None = None

    def load(self, *, create: bool = True) -> FernetCipher:
        """Read the keys, again if they were read before.

        Args:
            create: Whether to make the file, with one new key, where it is missing.

        Raises:
            StoreError: it cannot be read or made, others can read it, or it holds no keys.
        """
        try:
            try:
                text = self._read()
            except FileNotFoundError:
                if not create:
                    raise
                self._write(f"{FernetCipher.new_key().reveal()}\n", replace=False)
                text = self._read()
            first, *older = text.split()
            self._cipher = FernetCipher(first, *older)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or type(error).__name__}") from error
        except ValueError:
            # Not chained: an error about a text may quote it.
            raise StoreError(f"{self.path}: expected a key of 44 characters in each line") from None
        return self._cipher

    def rotate(self) -> None:
        """Put a new key before those in the file, which stay, for what is encrypted with them.

        A store that is open uses it from its next opening on, and then encrypts anew what it holds.

        Raises:
            StoreError: see `load`.
        """
        self.load()
        try:
            self._write(f"{FernetCipher.new_key().reveal()}\n{self._read()}", replace=True)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or type(error).__name__}") from error
        self.load()

    def encrypt(self, plain: bytes) -> bytes:
        """Return the bytes encrypted with the newest key.

        Raises:
            StoreError: see `load`.
        """
        return (self._cipher or self.load()).encrypt(plain)

    def decrypt(self, stored: bytes) -> bytes:
        """Return what was encrypted with any of the keys.

        Raises:
            StoreError: see `load`.
            cryptography.fernet.InvalidToken: none of them did.
        """
        return (self._cipher or self.load(create=False)).decrypt(stored)

    def is_current(self, stored: bytes) -> bool:
        """Tell whether the newest key encrypted this."""
        return (self._cipher or self.load(create=False)).is_current(stored)

    def _read(self) -> str:
        with self.path.open("rb") as file:
            if sys.platform != "win32":
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise StoreError(
                        f"{self.path}: others may read this key (mode {mode:04o}); make it yours alone, "
                        "with chmod 600, and replace it if somebody may have read it"
                    )
            return file.read(_MAX_KEY_FILE).decode("ascii")

    def _write(self, text: str, *, replace: bool) -> None:
        """Put the whole file in its place at once, and on the disk before anything is encrypted with it."""
        place = Path(os.path.realpath(self.path))  # a link to the file stays a link
        descriptor, name = tempfile.mkstemp(prefix=f"{place.name}.", dir=place.parent)  # mode 0600
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, which Path cannot open
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            if replace:
                Path(name).replace(place)
            else:
                # Unlike a renaming, a link does not replace what another process has made meanwhile.
                with contextlib.suppress(FileExistsError):
                    os.link(name, place)
        finally:
            Path(name).unlink(missing_ok=True)
        if sys.platform != "win32":
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _fernets(keys: list[Secret | str]) -> tuple[Fernet, MultiFernet]:
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - only who uses a cipher loads it

    try:
        fernets = [Fernet(key.reveal() if isinstance(key, Secret) else key) for key in keys]
    except ValueError:
        raise ValueError("expected keys of 32 bytes in URL-safe base64, as new_key() makes them") from None
    return fernets[0], MultiFernet(fernets)
