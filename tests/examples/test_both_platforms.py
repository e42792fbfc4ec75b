"""Both examples register, unregister, restart and refuse alike, in both versions."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.examples.iop import TOKEN_OF_IOP, Iop, an_iop
from tests.examples.programs import TOKEN_A, Program, launch, refused, running

VERSIONS = ["2.1.1", "2.2.1"]
PROGRAMS = {"cpo_platform.py": "CPO", "emsp_platform.py": "EMP"}
WORKS = {"cpo_platform.py": "locations", "emsp_platform.py": "tokens"}
"""A listing of each, to see that it serves."""

both = pytest.mark.parametrize("name", PROGRAMS)
in_both = pytest.mark.parametrize("version", VERSIONS)


async def works(iop: Iop, name: str) -> bool:
    """Whether the example serves IOP."""
    url = iop.at(WORKS[name], "SENDER")
    return (await iop.ask("GET", url, query={"limit": "1"})).codes == (200, 1000)


@both
@in_both
async def test_register_and_unregister(name: str, version: str) -> None:
    """IOP registers with the token that is printed, unregisters, and registers again with the same one."""
    async with running(name) as program, an_iop(version, PROGRAMS[name]) as iop:
        iop.theirs = program.token_a
        assert list(await iop.offered(program.versions_url)) == ["2.2.1", "2.1.1"]
        nobody = await iop.ask("GET", program.versions_url, token="no-token-of-anybody-at-all")
        assert nobody.codes == (401, 2000)
        await iop.discover(program.versions_url)
        early = await iop.ask("GET", iop.at(WORKS[name], "SENDER"))
        assert early.codes == (401, 2000)
        assert (await iop.ask("DELETE", iop.credentials_url)).http == 405
        wrong = await iop.ask(
            "POST", iop.credentials_url, iop.presented(), token="no-token-at-all-0123456789"
        )
        assert wrong.codes == (401, 2000)
        lacking = await iop.ask("POST", iop.credentials_url, {"token": "x"})
        assert lacking.codes == (200, 2001)
        await iop.register(program.versions_url, program.token_a)
        shown = iop.credentials if version == "2.1.1" else iop.credentials["roles"][0]
        assert (shown["country_code"], shown["party_id"]) == ("FR", PROGRAMS[name])
        assert iop.credentials["url"] == program.versions_url
        assert await works(iop, name)
        spent = await iop.ask("POST", iop.credentials_url, iop.presented(), token=program.token_a)
        assert spent.codes == (401, 2000)
        again = await iop.ask("POST", iop.credentials_url, iop.presented())
        assert again.http == 405
        assert (await iop.ask("GET", iop.credentials_url)).data == iop.credentials
        renewed = (await iop.ask("PUT", iop.credentials_url, iop.presented())).data["token"]
        assert renewed != iop.theirs
        iop.theirs = renewed
        assert await works(iop, name)
        assert (await iop.ask("DELETE", iop.credentials_url)).codes == (200, 1000)
        assert (await iop.ask("GET", iop.at(WORKS[name], "SENDER"))).http == 401
        assert (await iop.ask("DELETE", iop.credentials_url)).http == 401
        await iop.register(program.versions_url, program.token_a)
        assert await works(iop, name)
        await program.stop()


@both
@in_both
async def test_one_version(name: str, version: str) -> None:
    """With --version it offers that version alone."""
    async with running(name, "--version", version, "--token-a", TOKEN_A) as program:
        assert program.second_line == "token A: as given"
        async with an_iop(version, PROGRAMS[name]) as iop:
            await iop.register(program.versions_url, TOKEN_A)
            assert list(await iop.offered(program.versions_url)) == [version]
            assert await works(iop, name)
        await program.stop(signal.SIGINT)


@both
async def test_both_versions_at_once(name: str) -> None:
    """With two tokens A it is registered in both versions at the same time."""
    other = f"{TOKEN_A}-of-the-other"
    async with (
        running(name, "--token-a", TOKEN_A, "--token-a", other) as program,
        an_iop("2.2.1", PROGRAMS[name]) as newer,
        an_iop("2.1.1", PROGRAMS[name]) as older,
    ):
        assert await program.line() == "token A: as given"
        await newer.register(program.versions_url, TOKEN_A)
        await older.register(program.versions_url, other)
        assert await works(newer, name)
        assert await works(older, name)
        await program.stop()


@both
@in_both
async def test_registers_itself(name: str, version: str) -> None:
    """With --register it registers with IOP; the console renews the credentials, and unregisters."""
    async with an_iop(version, PROGRAMS[name]) as iop:
        arguments = ["--register", iop.versions_url, "--register-token", TOKEN_OF_IOP]
        async with running(name, *arguments) as program:
            assert program.second_line == "registered with iop"
            assert await works(iop, name)
            before = iop.theirs
            await program.do("update")
            assert iop.theirs != before
            assert await works(iop, name)
            await program.do("unregister")
            assert (await iop.ask("GET", iop.at(WORKS[name], "SENDER"))).http == 401
            await program.stop()


@both
async def test_cannot_register(name: str) -> None:
    """Where the partner does not know the token, it says so, and goes on."""
    async with an_iop("2.2.1", PROGRAMS[name]) as iop:
        arguments = ["--register", iop.versions_url, "--register-token", "not-the-token-of-iop-0123456789"]
        process = await launch(name, "--port", "0", *arguments)
        program = Program(process, (await Program(process, "", "").line()).partition(": ")[2], "")
        assert (await program.complaint()).startswith("cannot register: GET versions")
        await program.stop()


@both
async def test_cannot_start(name: str, tmp_path: Path) -> None:
    """A token that cannot be one, or a database that cannot be opened, ends it with one clear line."""
    for arguments in (["--token-a", "two words"], ["--database", str(tmp_path / "nowhere" / "x.db")]):
        process = await launch(name, "--port", "0", *arguments)
        _, complaints = await process.communicate()
        assert complaints.decode().splitlines()[-1].startswith("cannot start: ")
        assert (process.returncode, complaints.count(b"\n")) == (1, 1)


@pytest.mark.parametrize(("name", "version"), [("cpo_platform.py", "2.1.1"), ("emsp_platform.py", "2.2.1")])
async def test_restart(name: str, version: str, tmp_path: Path) -> None:
    """With --database the registration outlives the process; the port has to stay the same for that."""
    database = str(tmp_path / "platform.db")
    async with an_iop(version, PROGRAMS[name]) as iop:
        async with running(name, "--token-a", TOKEN_A, "--database", database) as program:
            await iop.register(program.versions_url, TOKEN_A)
            await program.stop()
        async with running(name, "--database", database, "--port", str(program.port)) as program:
            assert program.second_line == "registered already"
            assert await works(iop, name)
            await program.stop()


@both
@in_both
async def test_wrong_requests(name: str, version: str) -> None:
    """A wrong token, an unknown page, a body that is no JSON and one that lacks fields get an envelope."""
    async with running(name, "--token-a", TOKEN_A) as program, an_iop(version, PROGRAMS[name]) as iop:
        await iop.register(program.versions_url, TOKEN_A)
        url = iop.at(WORKS[name], "SENDER")
        for token in ("no-token-of-anybody-at-all", TOKEN_A):
            assert (await iop.ask("GET", url, token=token)).codes == (401, 2000)
        for query in ({"limit": "0"}, {"offset": "-1"}, {"date_from": "yesterday"}):
            assert (await iop.ask("GET", url, query=query)).codes == (200, 2001)
        assert (await iop.ask("GET", f"{url}/a/b/c/d/e")).codes == (404, 2000)
        assert (await iop.ask("POST", url, {})).http == 405
        results = {"cpo_platform.py": "/START_SESSION", "emsp_platform.py": "/START_SESSION/1"}
        commands = iop.at("commands", {"cpo_platform.py": "RECEIVER"}.get(name, "SENDER"), results[name])
        broken = await iop.ask("POST", commands, b'{"result": ')
        assert broken.codes == (400, 2001)
        lacking = await iop.ask("POST", commands, {"x": 17})
        assert lacking.codes == (200, 2001)
        assert {"cpo_platform.py": "/token", "emsp_platform.py": "/result"}[name] in lacking.body[
            "status_message"
        ]
        await program.stop()


@both
async def test_console(name: str) -> None:
    """A line that cannot be followed gets one clear line, and the next one is read."""
    lines = {
        "hello": "not understood",
        "": "not understood",
        "stop": "not understood",
        "push": "no hub has registered",
        "unregister": "no hub has registered",
    }
    async with running(name) as program:
        for line, words in lines.items():
            program.say(line)
            assert await program.complaint() == f"{line}: {words}"
        await program.stop()


@both
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extra"], "unrecognized arguments: extra"),
        (["--port", "70000"], "--port: expected 0 to 65535"),
        (["--port", "-1"], "--port: expected 0 to 65535"),
        (["--port", "http"], "--port: invalid int value"),
        (["--version", "2.2"], "--version: invalid choice: '2.2'"),
        (["--register", "http://127.0.0.1:9/versions"], "--register and --register-token belong together"),
        (["--register-token", "x"], "--register and --register-token belong together"),
    ],
)
def test_refused_arguments(
    name: str,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be meant is refused with exit status 2 and one clear line."""
    assert words in refused(name, arguments, monkeypatch, capsys)


@both
def test_port_taken(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is refused with exit status 2 and one clear line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(name, ["--port", str(port)], monkeypatch, capsys)
    assert f"cannot listen on 127.0.0.1, port {port}" in line
