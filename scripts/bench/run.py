"""Measure the package against its peers, all in one run: `make bench`, or `make bench ARGS="--help"`.

Each row is repeated for some rounds. In each round every contender runs once, in an order that rotates,
each in a fresh process while nothing else runs, so that a drift of the machine meets them all alike.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import os
import platform
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from every_row import ROWS
from measure import Tally, measure
from rows import OURS, Row
from table import markdown, plain

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_DISTRIBUTIONS = {"pebble": "Pebble"}


def main() -> int:
    options = _options()
    # Without it our sources would be compiled at every start, and the installed packages of the peers would not.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # What a contender leaves behind becomes our child, so that it can be found and ended.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that samples are ended too
    measured: list[tuple[Row, list[Tally]]] = []
    for place, row in enumerate(ROWS):
        if options.rows and row.number not in options.rows:
            continue
        print(f"row {row.number}: {row.title} ...", file=sys.stderr, flush=True)
        measured.append((row, measure(place, row, options.rounds, options.quick)))
    notes = _notes(measured, options.rounds, options.quick)
    print(plain(measured, notes))
    if options.markdown:
        options.markdown.write_text(markdown(measured, notes), encoding="utf-8")
    ours = [tally for _, tallies in measured for tally in tallies if tally.entry.name == OURS]
    return 1 if any(tally.problem for tally in ours) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=_numbers, help="only these rows, for example 1,2")
    parser.add_argument("--rounds", type=_at_least_one, help="how often each contender runs (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks: to see that it works")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 1 if options.quick else 5
    return options


def _numbers(text: str) -> set[int]:
    known = {row.number for row in ROWS}
    chosen = {int(part) for part in text.split(",")}
    if unknown := chosen - known:
        raise argparse.ArgumentTypeError(f"there is no row {min(unknown)}, only {min(known)} to {max(known)}")
    return chosen


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 round is needed")
    return number


def _notes(measured: Sequence[tuple[Row, Sequence[Tally]]], rounds: int, quick: bool) -> list[str]:
    """Say on what it was measured, with which versions, and what was left out."""
    entries = [tally.entry for _, tallies in measured for tally in tallies]
    missing = sorted({entry.name for entry in entries if entry.missing})
    modules = sorted({entry.module for entry in entries if entry.module and not entry.missing} | {"psutil"})
    notes = [
        f"{os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} on {platform.machine()}. Two workers everywhere; rounds: {rounds}, in rotating order.",
        "Versions: " + ", ".join(f"{module} {version}" for module in modules if (version := _version(module))) + ".",
        f"{OURS} runs with capture, limits and accounting on. Every result was verified.",
    ]
    if missing:
        notes.append(f"Left out, not installed: {', '.join(missing)}.")
    if quick:
        notes.append("A quick run with a tenth of the tasks: these figures are for checking the benchmark only.")
    return notes


def _version(module: str) -> str | None:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
