from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ocpi_gireve import v221
from ocpi_gireve._codec import encode
from ocpi_gireve.cli._group import group
from ocpi_gireve.testing import sample, samples

GOOD = encode(sample(v221.Token, 1))
BAD = GOOD.replace(b'"FR"', b'"FRANCE"')
PRICE = "/tariffs/0/elements/0/price_components/0/price"
UNREADABLE = b'{"uid":"04A1"}'


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(group, ["validate", *arguments], prog_name="ocpi-gireve", input=stdin)


def result(data: bytes, *arguments: str) -> dict[str, Any]:
    """The JSON object that is printed last, for tokens on standard input."""
    done = run("-", "--as", "Token", "--json", *arguments, stdin=data)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code == 0) == (found["codes"] == {})
    return found


def answer(*items: bytes) -> bytes:
    """An OCPI answer with a list."""
    return b'{"data":[' + b",".join(items) + b'],"status_code":1000,"timestamp":"2025-06-29T20:39:09Z"}'


@pytest.mark.parametrize(
    "document",
    [
        b"[" + GOOD + b"," + BAD + b"," + GOOD + b"]",
        b"\xef\xbb\xbf[" + GOOD + b"," + BAD + b"," + GOOD + b"]",
        answer(GOOD, BAD, GOOD),
        b"[" + answer(GOOD, BAD) + b"," + answer(GOOD) + b"]",
        b"\n".join((GOOD, BAD, GOOD)),
        b"\n".join((answer(GOOD, BAD), answer(GOOD))),
        json.dumps(json.loads(b"[" + GOOD + b"," + BAD + b"," + GOOD + b"]"), indent=2).encode(),
    ],
)
def test_forms(document: bytes) -> None:
    """A list, an answer, pages and JSON Lines are read alike, and each problem names its object."""
    assert result(document) == {
        "objects": 3,
        "valid": 2,
        "problems": [
            {
                "item": 1,
                "pointer": "/country_code",
                "code": "max-length",
                "message": "expected at most 2 characters, found 6",
                "reference": "2.2.1 tokens, Token",
            },
            {
                "item": 1,
                "pointer": "/country_code",
                "code": "country",
                "message": "expected two letters, an ISO 3166-1 alpha-2 code",
                "reference": "2.2.1 tokens, Token",
            },
        ],
        "codes": {"max-length": 1, "country": 1},
    }


@pytest.mark.parametrize("document", [GOOD, b"[]", answer(), answer(GOOD)])
def test_no_problem(document: bytes, tmp_path: Path) -> None:
    """A file without problems ends with status 0, and a sentence says how many objects were read."""
    file = tmp_path / "tokens.json"
    file.write_bytes(document)
    done = run(str(file), "--as", "Token")
    assert done.exit_code == 0
    count = "1 object" if GOOD in document else "0 objects"
    assert f"{count} read as OCPI 2.2.1 Token, {count[0]} without problems" in done.stdout
    assert "Code" not in done.stdout


def test_table(tmp_path: Path) -> None:
    """Problems are shown in a table, with a count by code, and end with status 1."""
    file = tmp_path / "tokens.json"
    file.write_bytes(b"[" + BAD + b"," + UNREADABLE + b"]")
    done = run(str(file), "--as", "token")
    assert done.exit_code == 1
    assert "2 objects read as OCPI 2.2.1 Token, 0 without problems" in done.stdout
    assert "/country_code" in done.stdout
    assert "expected at most 2 characters, found 6" in done.stdout
    assert "Problems by code" in done.stdout
    assert "missing" in done.stdout
    assert "04A1" not in done.stdout


def test_unreadable_objects() -> None:
    """An object that cannot be read counts as one, with all its problems; the others are still read."""
    found = result(b"[" + UNREADABLE + b",17," + b'{"uid" 1},' + GOOD + b"]")
    assert (found["objects"], found["valid"]) == (4, 1)
    assert found["codes"] == {"missing": 8, "type": 1, "json": 1}
    assert {problem["item"] for problem in found["problems"]} == {0, 1, 2}


def test_bad_line() -> None:
    """A line that is not JSON is a problem of its own."""
    found = result(GOOD + b"\n" + GOOD[:50] + b"\n" + GOOD)
    assert (found["objects"], found["valid"], found["codes"]) == (3, 2, {"json": 1})


def test_what_decoding_mends() -> None:
    """A boolean in quotes is a problem, although it can be read."""
    found = result(GOOD.replace(b'"valid":true', b'"valid":"true"'))
    assert [(problem["pointer"], problem["code"]) for problem in found["problems"]] == [("/valid", "type")]


@pytest.mark.parametrize(("most", "shown"), [("0", 0), ("3", 3), ("999", 200)])
def test_most(most: str, shown: int) -> None:
    """At most so many problems are told, the first ones; all are counted."""
    found = result(b"[" + b",".join([BAD] * 100) + b"]", "--most", most)
    assert len(found["problems"]) == shown
    assert (found["objects"], found["codes"]) == (100, {"max-length": 100, "country": 100})
    done = run("-", "--as", "Token", "--most", most, stdin=b"[" + b",".join([BAD] * 100) + b"]")
    assert (f"(the first {most} of 200)" in done.stdout) == (0 < shown < 200)


def test_most_by_default() -> None:
    """Fifty problems are told where nothing else is asked for."""
    assert len(result(b"[" + b",".join([BAD] * 100) + b"]")["problems"]) == 50


def test_version() -> None:
    """`--version` says which version of OCPI, and 2.2.1 is meant without it."""
    one = encode(sample(v221.Token, 1))
    assert run("-", "--as", "Token", "--version", "2.2.1", stdin=one).exit_code == 0
    done = run("-", "--as", "Token", "--version", "2.1.1", "--json", stdin=one)
    assert [problem["pointer"] for problem in json.loads(done.stdout)["problems"]] == ["/auth_id"]
    assert run("-", "--as", "Token", "--version", "2.3.0", stdin=one).exit_code == 2


def test_answers_themselves() -> None:
    """Read as ResponseFormat, an answer is the object."""
    done = run("-", "--as", "responseformat", "--json", stdin=b"[" + answer(GOOD, GOOD) + b"]")
    assert json.loads(done.stdout) == {"objects": 1, "valid": 1, "problems": [], "codes": {}}
    done = run("-", "--as", "ResponseFormat", "--json", stdin=b'{"data":[]}')
    assert json.loads(done.stdout)["codes"] == {"missing": 2}


def test_unknown_class() -> None:
    """An unknown class is refused with the list of those there are, and status 2."""
    done = run("-", "--as", "Place", stdin=GOOD)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "ocpi-gireve validate: OCPI 2.2.1 has no class 'Place'; it has ActiveCharging"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "expected JSON, and found nothing, at byte 0"),
        (b"<html></html>", "expected a value at byte 0"),
        (b"[" + GOOD, "expected a comma or the end of a list at byte"),
        (b"[" + GOOD[:-1], "expected the end of an object or a list at byte"),
    ],
)
def test_no_json(document: bytes, message: str) -> None:
    """What is not JSON is told in one line with the place, and status 2."""
    done = run("-", "--as", "Token", "--json", stdin=document)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ocpi-gireve validate: standard input: not JSON: " + message)
    assert done.stderr.count("\n") == 1


def test_what_came_before_the_end(tmp_path: Path) -> None:
    """Of a truncated file, the problems found up to there are shown."""
    file = tmp_path / "half.json"
    file.write_bytes(b"[" + BAD + b"," + GOOD[:20])
    done = run(str(file), "--as", "Token")
    assert done.exit_code == 2
    assert "/country_code" in done.stdout
    assert f"{file}: not JSON: " in done.stderr


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is told in one line, with status 2."""
    for file, words in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "Is a directory")):
        done = run(str(file), "--as", "Token")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == f"ocpi-gireve validate: {file}: {words}\n"


@pytest.mark.parametrize("arguments", [["-"], ["--as", "Token"], ["-", "--as", "Token", "--most", "-1"]])
def test_usage(arguments: list[str]) -> None:
    """Arguments that make no sense end with status 2."""
    assert run(*arguments, stdin=GOOD).exit_code == 2


def test_as_a_program(tmp_path: Path) -> None:
    """With `--json`, standard output holds the JSON object alone; the tables are on standard error."""
    file = tmp_path / "locations.json"
    file.write_bytes(encode(samples(v221.Location, 20)).replace(b'"FRA"', b'"FR"'))
    code = "from ocpi_gireve.cli import main; main()"
    command = (sys.executable, "-X", "utf8", "-c", code, "validate", str(file), "--as", "Location", "--json")
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert json.loads(done.stdout)["codes"] == {"country": 20}
    assert "Problems by code" in done.stderr
    assert "\x1b" not in done.stderr


def test_examples_of_the_specification(shared: Path) -> None:
    """The specification's own examples can be checked, and what is known to be wrong in them is found."""
    for name, cls, version, pointers in (
        ("ocpi-2.2.1/session_example_2_short_finished.json", "Session", "2.2.1", set[str]()),
        ("ocpi-2.1.1/cdrs_example_of_a_cdr.json", "CDR", "2.1.1", {PRICE, "/location/country"}),
    ):
        done = run(str(shared / "spec/examples" / name), "--as", cls, "--version", version, "--json")
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["objects"] == 1
        assert pointers <= {problem["pointer"] for problem in found["problems"]}


def test_real_data(shared: Path) -> None:
    """A real feed is read to its end."""
    done = run(str(shared / "data" / "ludwigsburg-locations-2.2.1.json"), "--as", "Location", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["objects"] == 130
