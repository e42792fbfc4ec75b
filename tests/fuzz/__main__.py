"""Runs the fuzzers for a while: `python -m tests.fuzz [SECONDS] [TARGET ...]`.

What they check is in targets.py. Each target has a process of its own, and a folder below `--corpus` where
what it finds interesting is kept for the next time; input that breaks something is kept beside it. It needs
Linux and atheris.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

LONGEST = 8192
"""Bytes of one input."""
MEMORY = 2048
"""MiB, above which a target has failed."""
PATIENCE = 10
"""Seconds for one input, above which a target has failed."""


def main() -> None:
    """Run all targets, or those named, and exit with 1 if one has failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Look for input that breaks a parser."
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="SECONDS | TARGET", help="60 seconds for every target, by default"
    )
    parser.add_argument("--corpus", type=Path, help="where to keep what is interesting")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = next((one for one in options.arguments if one.isdigit()), "60")
    names = [one for one in options.arguments if not one.isdigit()]
    if options.only is not None:
        fuzz(options.only, seconds, options.corpus)
        return
    known = list(importlib.import_module("tests.fuzz.targets").TARGETS)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="ocpi-gireve-fuzz-") as temporary:
        corpus = (options.corpus or Path(temporary)).resolve()
        failed = [name for name in names or known if not survives(name, seconds, corpus)]
    found = f"failed: {', '.join(failed)}" if failed else "nothing found"
    sys.stdout.write(f"{len(names or known)} targets, {seconds} s each: {found}\n")
    sys.exit(1 if failed else 0)


def survives(name: str, seconds: str, corpus: Path) -> bool:
    """Run one target in a process of its own."""
    sys.stdout.write(f"=== {name}\n")
    sys.stdout.flush()
    command = (sys.executable, "-m", "tests.fuzz", "--only", name, "--corpus", str(corpus), seconds)
    return subprocess.run(command, check=False).returncode == 0


def fuzz(name: str, seconds: str, corpus: Path) -> None:
    """Run one target in this process, which ends with it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["ocpi_gireve"]):
        target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (folder / sha256(seed).hexdigest()[:40]).write_bytes(seed)
    words = corpus / f"{name}.words"
    words.write_text("".join(f'"{escaped(word)}"\n' for word in target.words), "ascii")
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "timeout": PATIENCE,
        "rss_limit_mb": MEMORY,
        "dict": words,
        "artifact_prefix": f"{corpus}/{name}-failed-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(folder)], target.check
    )
    atheris.Fuzz()


def escaped(word: bytes) -> str:
    """Write bytes as libFuzzer's dictionaries have them."""
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
