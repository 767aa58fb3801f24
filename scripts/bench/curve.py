"""Print what a task of a workflow costs, in time and memory, from a hundred tasks to a hundred thousand.

Memory is what the process grows by during the execution, results included, divided by the number of tasks.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time

import graphs
import psutil

from orchestrator import Task, Workflow

COUNTS = (100, 1_000, 10_000, 100_000)
ROUNDS = 3
SHAPES = {"independent": graphs.independent, "chain": graphs.in_a_chain, "layers": graphs.in_layers}


async def _nothing() -> None:
    """Be a task."""


def _measure(shape: str, count: int) -> tuple[float, float]:
    """Return microseconds and bytes a task."""
    flow = Workflow(tasks=[Task(name, _nothing, dependencies=set(b)) for name, b in SHAPES[shape](count).items()])
    Workflow(tasks=[Task("warm", _nothing)]).run()
    gc.collect()
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    results = flow.run()
    seconds = time.perf_counter() - start
    grown = psutil.Process().memory_info().rss - before
    assert all(result.success for result in results.values())
    return seconds / len(flow) * 1e6, grown / len(flow)


def main() -> None:
    if len(sys.argv) == 3:
        print(*_measure(sys.argv[1], int(sys.argv[2])))
        return
    print(f"{'tasks':>8}" + "".join(f"{shape:>26}" for shape in SHAPES))
    for count in COUNTS:
        cells = []
        for shape in SHAPES:
            command = [sys.executable, __file__, shape, str(count)]
            taken = [subprocess.run(command, capture_output=True, check=True, text=True) for _ in range(ROUNDS)]
            pairs = [tuple(map(float, each.stdout.split())) for each in taken]
            microseconds, size = (statistics.median(column) for column in zip(*pairs, strict=True))
            cells.append(f"{microseconds:10.1f} µs {size:8.0f} bytes")
        print(f"{count:>8,}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
