"""Run the samples of a row, interleaved, each in a process of its own with a deadline."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rows import Entry, Reading, Row

_SAMPLE = Path(__file__).with_name("sample.py")
_LEAVE_SECONDS = 3.0


@dataclass(slots=True)
class Tally:
    """What one contender gave in a row: its readings, or why there are none."""

    entry: Entry
    readings: list[Reading] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float:
        """The median of the figures."""
        return statistics.median(reading.figure for reading in self.readings)

    def best(self, more_is_better: bool) -> float:
        """The best of the figures: the lowest, or the highest where more is better."""
        figures = [reading.figure for reading in self.readings]
        return max(figures) if more_is_better else min(figures)


def measure(place: int, row: Row, rounds: int, quick: bool) -> list[Tally]:
    """Measure a row, the one at this place of the table. A contender that failed once is not asked again."""
    tallies = [Tally(entry) for entry in row.entries]
    for number in range(rounds):
        first = number % len(tallies)
        for index in [*range(first, len(tallies)), *range(first)]:
            tally = tallies[index]
            if tally.problem or tally.entry.missing:
                continue
            taken = _take(place, index, quick, row.deadline_seconds)
            if isinstance(taken, Reading):
                tally.readings.append(taken)
            else:
                tally.problem = taken
                print(f"  {tally.entry.name}: {taken}", file=sys.stderr, flush=True)
    return tallies


def _take(place: int, index: int, quick: bool, deadline_seconds: float) -> Reading | str:
    """Take one sample; return what went wrong if there is no reading."""
    with tempfile.TemporaryDirectory() as folder:
        path, errors = Path(folder, "reading"), Path(folder, "errors")
        command = [sys.executable, str(_SAMPLE), str(place), str(index), str(path), *(["--quick"] if quick else [])]
        # Files, not pipes: what a contender leaves behind would hold a pipe open.
        with errors.open("wb") as stderr:
            sample = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
            try:
                code = sample.wait(deadline_seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end_all(patience_seconds=0.0 if sample.poll() is None else _LEAVE_SECONDS)
        if path.exists():
            figure, facts = json.loads(path.read_text())
            return Reading(figure, facts)
        if code is None:
            return f"no end after {deadline_seconds:g} s"
        lines = errors.read_text(errors="replace").strip().splitlines()
        return f"failed: {lines[-1] if lines else f'exit code {code}'}"


def _end_all(patience_seconds: float) -> None:
    """End every process below this one, after giving it time to end by itself; so nothing meets the next sample."""
    while left := psutil.Process().children(recursive=True):
        _, still = psutil.wait_procs(left, timeout=patience_seconds)
        for process in still:
            process.kill()
        psutil.wait_procs(still)
        patience_seconds = 0.0
