"""A lock that the operating system frees when its holder dies; knows nothing of databases."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: it belongs to this opening of the file, so that it keeps out the same process too,
        # and closing another descriptor of the file does not free it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        # Explicitly, since a process forked meanwhile holds the same opening.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_private(path: Path, *, create: bool) -> int:
    """Open a file for reading and writing that only its owner can open; return the descriptor.

    Raises:
        OSError: the file cannot be opened, or is somebody else's.
    """
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        if sys.platform != "win32":
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class FileLock:
    """Holds a side file, which stays behind: deleting it would let two holders lock two files of one name."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: somebody holds it.
            OSError: the file cannot be opened, or the file system cannot lock.
        """
        self._descriptor = open_private(path, create=True)
        try:
            _lock(self._descriptor)
        except PermissionError as error:
            os.close(self._descriptor)
            raise BlockingIOError(error.errno, error.strerror) from error  # what Windows says of a held lock
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let the next one in."""
        _unlock(self._descriptor)
        os.close(self._descriptor)
