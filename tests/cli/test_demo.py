from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from click.testing import CliRunner, Result

import ocpi_gireve
from ocpi_gireve import v221
from ocpi_gireve.cli.demo import command
from ocpi_gireve.simulator import Simulator
from ocpi_gireve.simulator.cpo import Cpo
from tests.support import a_location, an_evse

LIBRARY = str(Path(ocpi_gireve.__file__).parents[1])
RUN = "from ocpi_gireve.cli import main; main()"
STEPS = 14


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(command, arguments, prog_name="ocpi-gireve demo")


def object_of(result: Result) -> dict[str, Any]:
    """The object that `--json` printed, with nothing before or after it."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


class TestStory:
    def test_told(self) -> None:
        """Every step is shown with what was seen, then the use cases, and the exit status is 0."""
        result = run("--plain")
        assert result.exit_code == 0, result.output
        assert result.output.count("ok   ") == STEPS
        assert "120 locations in 2 pages" in result.output
        assert "Push EVSE status" in result.output
        assert "Real-Time Authorization" in result.output
        assert result.output.endswith("Steps verified: 14 of 14. Uploads lost: 0.\n")
        assert "\x1b" not in result.output

    def test_json(self, tmp_path: Path) -> None:
        """`--json` prints one object and nothing else to standard output, with a feed too."""
        feed = tmp_path / "feed.json"
        feed.write_bytes(v221.encode([a_location(), a_location(id="LOC2")]))
        result = run("--json", "--locations", str(feed))
        assert result.exit_code == 0, result.output
        found = object_of(result)
        assert len(found["steps"]) == STEPS
        assert all(
            step["ok"] is True and step["milliseconds"] >= 0 and step["name"] for step in found["steps"]
        )
        assert found["exchanges"] == sum(found["exchanges_by_use_case"].values()) > 40
        assert found["uploads_lost"] == 0
        assert "2 locations from" in result.stderr
        assert "Steps verified: 14 of 14" in result.stderr

    def test_real_feed(self, shared: Path) -> None:
        """A published feed works as it is."""
        feed = shared / "data" / "ludwigsburg-locations-2.2.1.json"
        result = run("--plain", "--locations", str(feed))
        assert result.exit_code == 0, result.output
        seen = re.search(r"130 locations, equal to the CPO's, (\d+) unknown properties kept", result.output)
        assert seen is not None
        assert int(seen[1]) >= feed.read_bytes().count(b'"help_phone"') > 0


class TestFailure:
    @pytest.fixture(autouse=True)
    def _broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def pull_locations(*_: object) -> None:
            logging.getLogger("ocpi_gireve.test").warning("a \x1b[31mwarning")
            raise RuntimeError("secret")

        monkeypatch.setattr(Simulator, "pull_locations", pull_locations)

    def test_shown(self) -> None:
        """A step that fails is the last: it is named, and the exit status is 1."""
        result = run("--plain")
        assert result.exit_code == 1
        assert "FAIL IOP pulls the CPO's locations" in result.output
        assert "RuntimeError at test_demo.py" in result.output
        assert result.output.endswith("Steps verified: 3 of 14. Uploads lost: unknown.\n")
        for unwanted in ("Traceback", "secret", "\x1b"):
            assert unwanted not in result.output

    def test_json(self) -> None:
        """The object is printed all the same."""
        result = run("--json")
        assert result.exit_code == 1
        found = object_of(result)
        assert [step["ok"] for step in found["steps"]] == [True, True, True, False]
        assert (found["ok"], found["uploads_lost"]) == (False, None)

    def test_warnings(self) -> None:
        """What is logged as a warning is a line of the story, and no handler stays behind."""
        before = list(logging.getLogger().handlers)
        assert "note a ?[31mwarning" in run("--plain").output
        assert logging.getLogger().handlers == before


class TestRefused:
    @pytest.mark.parametrize("text", ["", "<html>", "[]", '[{"id": "1"}]', '"\x1b[2J"'])
    def test_file(self, text: str, tmp_path: Path) -> None:
        """A file without a Location is refused in one line, with exit status 2."""
        feed = tmp_path / "feed.json"
        feed.write_text(text)
        for arguments in (["--locations", str(feed)], ["--json", "--locations", str(feed)]):
            result = run(*arguments)
            assert (result.exit_code, result.stdout) == (2, "")
            assert re.fullmatch(r"ocpi-gireve demo: [^\n\x1b]*feed\.json: [^\n\x1b]+\n", result.stderr)

    def test_no_place(self, tmp_path: Path) -> None:
        """A feed where no car can charge is refused as well."""
        feed = tmp_path / "feed.json"
        feed.write_bytes(v221.encode([a_location(evses=[an_evse(status=v221.Status.REMOVED)])]))
        result = run("--locations", str(feed))
        assert (result.exit_code, result.stdout.count("\n")) == (2, 1)
        assert result.stderr == (
            f"ocpi-gireve demo: {feed}: no location has an EVSE with a connector that a CDR could name\n"
        )

    def test_absent(self, tmp_path: Path) -> None:
        """So is a file that is not there, whatever its name."""
        result = run("--locations", str(tmp_path / "new\nline.json"))
        assert result.exit_code == 2
        assert result.stderr.endswith("new?line.json: No such file or directory\n")

    def test_left_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Items that are left out are told, the first ones one by one."""

        async def begin(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(Cpo, "begin", begin)  # so far is far enough
        feed = tmp_path / "feed.json"
        feed.write_bytes(b"[" + b",".join([v221.encode(a_location()), *[b"{}"] * 8]) + b"]")
        result = run("--plain", "--locations", str(feed))
        assert "1 locations from" in result.output
        assert result.output.count("left out: item") == 5
        assert "left out: 3 more" in result.output


# --- as a process --------------------------------------------------------------------------------------


@define
class Running:
    """The command as a process of its own, whose temporary files go to a folder that should end up empty."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: str = ""

    @property
    def ports(self) -> list[int]:
        """The ports that the first step names."""
        found = re.search(r"FR\*107 on port (\d+), the CPO on (\d+), FR\*EMP on (\d+)", self.output)
        return [int(port) for port in found.groups()] if found else []

    def read_until(self, text: str) -> None:
        """Read what it prints, until that text is in a line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line.decode()
            if text in self.output:
                break

    def end(self, number: int) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=15)
        self.output += output.decode()
        return self.process.returncode

    def assert_nothing_left(self) -> None:
        """Nothing listens any more, and no file is left."""
        for port in self.ports:
            with socket.socket() as trying:
                assert trying.connect_ex(("127.0.0.1", port)) != 0
        assert list(self.folder.iterdir()) == []


@contextmanager
def running(
    folder: Path, *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.STDOUT
) -> Generator[Running]:
    """Run the command as a process."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "demo", *arguments],
        bufsize=0,  # lines are read one by one, and what follows by `communicate`
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": LIBRARY, "TMPDIR": str(folder)},
    )
    try:
        yield Running(process, folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class TestInterrupted:
    @pytest.mark.parametrize(
        ("after", "number"),
        [
            ("eMSP start", signal.SIGINT),
            ("IOP registers", signal.SIGTERM),
            ("A session runs", signal.SIGINT),
            ("IOP goes down", signal.SIGINT),
            ("The CPO restarts", signal.SIGTERM),
        ],
    )
    def test_during_a_step(self, after: str, number: int, tmp_path: Path) -> None:
        """Ctrl-C, and SIGTERM, stop everything: no process, no port and no file is left."""
        with running(tmp_path / "tmp", "--plain") as demo:
            demo.read_until(after)
            assert demo.end(number) == 128 + number
        assert len(demo.ports) == 3
        assert "Interrupted; everything is stopped." in demo.output
        assert "Traceback" not in demo.output
        demo.assert_nothing_left()

    @pytest.mark.parametrize("delay", [0.1, 0.3, 0.4])
    def test_at_the_start(self, delay: float, tmp_path: Path) -> None:
        """However early it is killed, no file is left."""
        with running(tmp_path / "tmp", "--plain") as demo:
            time.sleep(delay)
            assert demo.end(signal.SIGTERM) != 0
        demo.assert_nothing_left()

    def test_impatient(self, tmp_path: Path) -> None:
        """More signals do not disturb the cleaning up."""
        with running(tmp_path / "tmp", "--plain") as demo:
            demo.read_until("IOP goes down")
            for _ in range(5):
                demo.process.send_signal(signal.SIGINT)
                time.sleep(0.002)
            assert demo.end(signal.SIGTERM) == 128 + signal.SIGINT
        demo.assert_nothing_left()

    def test_json(self, tmp_path: Path) -> None:
        """What was verified until then is printed as JSON."""
        with running(tmp_path / "tmp", "--json", stderr=subprocess.PIPE) as demo:
            assert demo.process.stderr is not None
            for line in demo.process.stderr:
                if b"IOP goes down" in line:
                    break
            assert demo.end(signal.SIGINT) == 128 + signal.SIGINT
        found = json.loads(demo.output)
        assert found["ok"] is False
        assert 12 <= len(found["steps"]) < STEPS
        demo.assert_nothing_left()


class TestProcess:
    def test_pipe_closed(self, tmp_path: Path) -> None:
        """When nobody reads on, it ends and leaves nothing."""
        with running(tmp_path / "tmp", "--plain", stderr=subprocess.PIPE) as demo:
            demo.read_until("IOP registers")
            assert demo.process.stdout is not None
            demo.process.stdout.close()
            assert demo.process.wait(timeout=15) != 0
        demo.assert_nothing_left()

    def test_other_encoding(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A terminal that cannot show a letter of the feed does not end the story."""
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        feed = tmp_path / "façade.json"
        feed.write_bytes(v221.encode([a_location()]))
        with running(tmp_path / "tmp", "--locations", str(feed)) as demo:
            demo.read_until("IOP registers")
            demo.end(signal.SIGTERM)
        assert "fa\\xe7ade.json" in demo.output
        demo.assert_nothing_left()

    def test_terminal(self, tmp_path: Path) -> None:
        """On a terminal there is a progress display, which an interruption takes away again."""
        ours, theirs = pty.openpty()
        with running(tmp_path / "tmp", stdout=theirs, stderr=theirs) as demo:
            os.close(theirs)
            shown = terminal_output(ours, "IOP goes down")
            demo.process.send_signal(signal.SIGINT)
            shown += terminal_output(ours)
            assert demo.process.wait(timeout=15) == 128 + signal.SIGINT
        os.close(ours)
        assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0  # the cursor goes, and comes back
        assert "Interrupted; everything is stopped." in shown
        demo.assert_nothing_left()


def terminal_output(terminal: int, until: str = "") -> str:
    """What is shown on a terminal, until that text or the end."""
    shown = ""
    while not until or until not in shown:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        shown += data.decode(errors="replace")
    return shown
