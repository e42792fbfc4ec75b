from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import InvalidToken

from ocpi_gireve.errors import StoreError
from ocpi_gireve.store import Cipher, FernetCipher, KeyFile, PlaintextCipher
from ocpi_gireve.types import Secret

PLAIN = b"outbound-token-0123456789"

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

MAKERS: dict[str, Callable[[Path], Cipher]] = {
    "plaintext": lambda _: PlaintextCipher(),
    "fernet": lambda _: FernetCipher(FernetCipher.new_key()),
    "key file": lambda folder: KeyFile(folder / "key"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a key is, in a folder of its own."""
    return tmp_path / "ocpi.db.key"


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("plain", [PLAIN, b"", bytes(range(256))], ids=["token", "empty", "bytes"])
def test_round_trip(tmp_path: Path, make: Callable[[Path], Cipher], plain: bytes) -> None:
    """Every cipher gives back what it was given."""
    cipher = make(tmp_path)
    assert cipher.decrypt(cipher.encrypt(plain)) == plain


def test_not_loaded() -> None:
    """Nobody loads cryptography who makes no cipher: not by an import, not by naming a file."""
    program = (
        "import sys, ocpi_gireve, ocpi_gireve.platform\n"
        "from ocpi_gireve.store import SqliteStore\n"
        "SqliteStore('ocpi.db')\n"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


class TestFernetCipher:
    def test_hides(self) -> None:
        """What is stored shows neither the token nor, twice, the same bytes."""
        cipher = FernetCipher(FernetCipher.new_key())
        stored = {cipher.encrypt(PLAIN) for _ in range(10)}
        assert len(stored) == 10
        assert not any(PLAIN in one for one in stored)

    def test_damage(self) -> None:
        """Bytes that were changed are refused, not turned into another token."""
        cipher = FernetCipher(FernetCipher.new_key())
        stored = bytearray(cipher.encrypt(PLAIN))
        stored[30] ^= 1
        with pytest.raises(InvalidToken):
            cipher.decrypt(bytes(stored))

    def test_new_key(self) -> None:
        """Each new key is another one, masked in its repr, and taken as text too."""
        one, other = FernetCipher.new_key(), FernetCipher.new_key()
        assert one != other
        assert one.reveal() not in repr(one)
        assert FernetCipher(one.reveal()).decrypt(FernetCipher(one).encrypt(PLAIN)) == PLAIN

    def test_older_keys(self) -> None:
        """The first key encrypts, all decrypt, and only the first one's work is current."""
        old, new = FernetCipher.new_key(), FernetCipher.new_key()
        before, both, after = FernetCipher(old), FernetCipher(new, old), FernetCipher(new)
        assert both.decrypt(before.encrypt(PLAIN)) == PLAIN
        assert after.decrypt(both.encrypt(PLAIN)) == PLAIN
        assert not both.is_current(before.encrypt(PLAIN))
        assert both.is_current(both.encrypt(PLAIN))
        with pytest.raises(InvalidToken):
            before.decrypt(both.encrypt(PLAIN))

    @pytest.mark.parametrize("key", ["", "planted", "planted!" * 5 + "====", "\u00e9" * 44, "a" * 44])
    def test_no_key(self, key: str) -> None:
        """What is no key is refused in words that do not quote it."""
        for wrong in (key, Secret(key)):
            with pytest.raises(ValueError, match="expected keys of 32 bytes in URL-safe base64") as caught:
                FernetCipher(FernetCipher.new_key(), wrong)
            assert "planted" not in str(caught.value)
            assert caught.value.__cause__ is None


class TestKeyFile:
    def test_made_once(self, path: Path) -> None:
        """The file is made with the first use, holds one key, and nothing else stays beside it."""
        stored = KeyFile(path).encrypt(PLAIN)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        assert len(path.read_text().split()) == 1
        assert KeyFile(path).decrypt(stored) == PLAIN

    @posix
    def test_private(self, path: Path) -> None:
        """Nobody but the owner can read a key that was made, or replaced."""
        KeyFile(path).load()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        KeyFile(path).rotate()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @posix
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
    def test_readable_by_others(self, path: Path, mode: int) -> None:
        """A key that others can read, or write, is refused, in words that say what to do."""
        KeyFile(path).load()
        path.chmod(mode)
        with pytest.raises(StoreError) as caught:
            KeyFile(path).load()
        assert str(caught.value) == (
            f"{path}: others may read this key (mode {mode:04o}); make it yours alone, with chmod 600, and "
            "replace it if somebody may have read it"
        )

    def test_never_made_to_decrypt(self, path: Path) -> None:
        """To decrypt, a file that is missing is not made: a new key could not help."""
        with pytest.raises(StoreError, match="No such file"):
            KeyFile(path).decrypt(b"stored")
        with pytest.raises(StoreError, match="No such file"):
            KeyFile(path).load(create=False)
        assert not path.exists()

    def test_no_folder(self, path: Path) -> None:
        """A folder that does not exist is named, and not made."""
        with pytest.raises(StoreError, match=r"none.key: No such file or directory"):
            KeyFile(path.parent / "none" / "key").load()

    @pytest.mark.parametrize(
        "text",
        ["", "\n", "planted\n", "planted \u00e9\n", "\x00" * 44],
        ids=["empty", "blank", "short", "not ASCII", "zeros"],
    )
    def test_no_key(self, path: Path, text: str) -> None:
        """A file without keys is refused in words that do not quote it, and left as it is."""
        path.write_bytes(text.encode())
        path.chmod(0o600)
        for use in (KeyFile(path).load, KeyFile(path).rotate):
            with pytest.raises(StoreError, match="expected a key of 44 characters in each line") as caught:
                use()
            assert "planted" not in str(caught.value)
            assert caught.value.__cause__ is None
        assert path.read_bytes() == text.encode()

    def test_not_a_file(self, path: Path) -> None:
        """A folder in the place of the key is refused."""
        path.mkdir(mode=0o700)
        with pytest.raises(StoreError, match=r"ocpi\.db\.key: "):
            KeyFile(path).load()

    def test_made_by_another_process(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that somebody else makes at the same moment is used, not replaced."""
        new_key = FernetCipher.new_key
        theirs = new_key()

        def meanwhile() -> Secret:
            path.write_text(theirs.reveal())
            path.chmod(0o600)
            return new_key()

        monkeypatch.setattr(FernetCipher, "new_key", staticmethod(meanwhile))
        stored = KeyFile(path).encrypt(PLAIN)
        assert FernetCipher(theirs).decrypt(stored) == PLAIN
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_rotate(self, path: Path) -> None:
        """A rotation puts a new key first and keeps the others, which still decrypt."""
        key = KeyFile(path)
        stored = key.encrypt(PLAIN)
        (old,) = path.read_text().split()
        key.rotate()
        new, *rest = path.read_text().split()
        assert rest == [old]
        assert not key.is_current(stored)
        assert key.decrypt(stored) == PLAIN
        assert FernetCipher(new).decrypt(key.encrypt(PLAIN)) == PLAIN

    def test_rotate_without_a_file(self, path: Path) -> None:
        """A key that is not there yet can be rotated: it is made."""
        key = KeyFile(path)
        key.rotate()
        assert KeyFile(path).decrypt(key.encrypt(PLAIN)) == PLAIN

    @posix
    def test_link(self, path: Path) -> None:
        """A link to the file stays a link: the file that it names is made and rotated."""
        target = path.with_name("elsewhere")
        path.symlink_to(target)
        key = KeyFile(path)
        stored = key.encrypt(PLAIN)
        key.rotate()
        assert path.is_symlink()
        assert len(target.read_text().split()) == 2
        assert KeyFile(target).decrypt(stored) == PLAIN
