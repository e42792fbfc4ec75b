"""The project's tasks, each run as `python3 -m nox -s NAME`. `python3 -m nox --list` says what each does.

Each session makes its own environment with plain pip and installs the project in it, so nothing depends on
what the machine has, and what is tested is what a host application would install.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["tests", "lint", "types", "docs", "build"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
TYPED = ("src", "tests", "typing_tests", "examples", "benchmarks", "docs", "conftest.py", "noxfile.py")

# Run in an environment that holds the built wheel and nothing of the checkout.
INSTALLED_PACKAGE = """
import sys
from importlib import metadata, resources

import ocpi_gireve

assert "site-packages" in (ocpi_gireve.__file__ or ""), ocpi_gireve.__file__
assert ocpi_gireve.__version__ == metadata.version("ocpi-gireve") == sys.argv[1], ocpi_gireve.__version__
assert resources.files("ocpi_gireve").joinpath("py.typed").is_file(), "py.typed is missing"
"""


def groups(*names: str) -> tuple[str, ...]:
    """The requirements of these dependency groups of pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, *names)


@nox.session
def demo(session: nox.Session) -> None:
    """Show a CPO and an eMSP roaming through a simulated hub, on this machine."""
    session.install(".[cli]")
    session.run("ocpi-gireve", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; further arguments go to pytest."""
    session.install(".[cli,postgres,telemetry]", *groups("tests"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and say which lines and branches they leave out; further arguments go to pytest."""
    session.install(".[cli,postgres,telemetry]", *groups("tests", "coverage"))
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, both strict."""
    session.install(".[cli,postgres,telemetry]", *groups("tests", "types", "docs", "bench"))
    session.run("mypy", *(name for name in TYPED if (ROOT / name).exists()))
    # Without this, pyright would take the machine's node where there is one, whatever its age.
    session.run("pyright", "--warnings", env={"PYRIGHT_PYTHON_GLOBAL_NODE": "off"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and that each layer imports only those below it."""
    # The project with its extras, because the contracts name the packages that it imports.
    session.install(".[cli,postgres,telemetry]", *groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, and run every Python block of it and of the README."""
    session.install(".[cli]", *groups("tests", "docs"))
    session.run("python", "-m", "pytest", "README.md", "docs", *session.posargs)
    session.run("sphinx-build", "-W", "--keep-going", "-E", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Run benchmarks by name: `nox -s bench -- codec server`."""
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    unknown = [name for name in session.posargs if name not in known]
    if unknown or not session.posargs:
        session.error(f"name one or more of: {', '.join(known) or 'there are no benchmarks'}")
    session.install(".", *groups("bench"))
    for name in session.posargs:
        session.run("python", f"benchmarks/{name}.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Look for input that breaks a parser: `nox -s fuzz -- SECONDS TARGET ...`; 60 for each, by default."""
    session.install(".", *groups("fuzz"))
    corpus = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "tests.fuzz", "--corpus", str(corpus), *session.posargs)


@nox.session
def schemathesis(session: nox.Session) -> None:
    """Ask a platform what its OpenAPI description allows and forbids, 100 000 times or as often as said."""
    session.install(".[cli]", *groups("tests"))
    requests = session.posargs[0] if session.posargs else "100000"
    env = {"OCPI_GIREVE_FUZZ_REQUESTS": requests}
    session.run("python", "-m", "pytest", "tests/security/test_openapi_fuzz.py", env=env)


@nox.session
def soak(session: nox.Session) -> None:
    """Run the random tests of crawls, handshakes, URLs and tokens at the size of a release."""
    session.install(".[cli,postgres,telemetry]", *groups("tests"))
    env = {
        "OCPI_GIREVE_CRAWLS": "10000",
        "OCPI_GIREVE_HANDSHAKES": "20000",
        "OCPI_GIREVE_URLS": "1000000",
        "OCPI_GIREVE_TOKENS": "1000000",
    }
    tests = (
        "properties/test_crawl.py",
        "handshake",
        "security/test_url_parsers.py",
        "security/test_guessing.py",
    )
    session.run("python", "-m", "pytest", *(f"tests/{name}" for name in tests), env=env)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel, and use the wheel as a host application would."""
    session.install(*groups("build"))
    out = Path(session.create_tmp()).resolve()
    for stale in out.glob("ocpi_gireve-*"):
        stale.unlink()
    # The wheel is built from the sdist, so this proves the sdist complete too.
    session.run("python", "-m", "build", "--outdir", str(out), ".")
    (sdist,) = out.glob("ocpi_gireve-*.tar.gz")
    (wheel,) = out.glob("ocpi_gireve-*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    version = wheel.name.split("-")[1]
    check_contents(session, wheel, sdist, version)

    fresh = out / "fresh"
    session.run("python", "-m", "virtualenv", "--quiet", "--clear", str(fresh))
    scripts = fresh / ("Scripts" if sys.platform == "win32" else "bin")
    python, command = str(scripts / "python"), str(scripts / "ocpi-gireve")
    with session.chdir(out):
        pip_install = (python, "-m", "pip", "install", "--quiet")
        session.run(*pip_install, str(wheel), external=True)
        session.run(python, "-W", "error", "-I", "-c", INSTALLED_PACKAGE, version, external=True)
        # The extra is missing: the command says so.
        session.run(command, "--version", external=True, success_codes=[2])
        session.run(*pip_install, f"{wheel}[cli]", external=True)
        session.run(command, "--version", external=True)
        session.run(command, "--help", external=True)


def check_contents(session: nox.Session, wheel: Path, sdist: Path, version: str) -> None:
    """Stop the session unless the wheel holds the whole package and nothing else, and the sdist its tests."""
    src, info = ROOT / "src", f"ocpi_gireve-{version}.dist-info/"
    files = (path.relative_to(src) for path in src.rglob("*") if path.is_file())
    sources = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith(info)}
    if packed != sources:
        session.error(f"the wheel and src differ in: {', '.join(sorted(packed ^ sources))}")
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
    needed = ("LICENSE", "README.md", "CHANGELOG.md", "noxfile.py", "tests/conftest.py")
    missing = [name for name in needed if f"ocpi_gireve-{version}/{name}" not in names]
    if missing:
        session.error(f"the sdist lacks: {', '.join(missing)}")
