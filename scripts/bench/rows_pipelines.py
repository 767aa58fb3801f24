"""Rows 24 and 25: what a stage of a pipeline and a job of a workflow file cost, against tools that run shell lines."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable

from contenders import WORKERS
from rows import OURS, Entry, Reading, Row, Scale, WrongResult, verify

STAGES = 200
JOBS = 200

Run = Callable[[int, str], list[str]]
"""Run so many trivial commands, with a folder for files; return what they wrote."""


def _stages(count: int, folder: str) -> list[str]:
    from orchestrator import OrchestratorBridge, PipelineConfig, StageConfig

    config = PipelineConfig([StageConfig(f"stage {number}", [f"echo {number}"]) for number in range(count)])
    results = OrchestratorBridge(cwd=folder).run_pipeline(config)
    if failed := [result for result in results if not result.success]:
        raise WrongResult(f"{failed[0].name}: {failed[0].error}")
    return [result.output.strip() for result in results]


def _shell(count: int, folder: str) -> list[str]:
    lines = "".join(f"sh -c 'echo {number}' || exit\n" for number in range(count))
    return _told(["/bin/sh", "-c", lines], folder)


def _make_in_order(count: int, folder: str) -> list[str]:
    with open(os.path.join(folder, "Makefile"), "w") as file:
        file.write(f"all: t{count - 1}\n")
        for number in range(count):
            file.write(f"t{number}:{f' t{number - 1}' if number else ''}\n\t@sh -c 'echo {number}'\n")
    return _told(["make", "-s"], folder)


def _jobs(count: int, folder: str) -> list[str]:
    from orchestrator.events import Event, Finished
    from orchestrator.pipelines import load_pipeline

    path = os.path.join(folder, "ci.yml")
    numbers = ", ".join(map(str, range(count)))
    with open(path, "w") as file:
        file.write(
            f"on: push\njobs:\n  job:\n    runs-on: ubuntu-latest\n    strategy: {{matrix: {{n: [{numbers}]}}}}\n"
            "    steps:\n      - {run: 'echo ${{ matrix.n }}', shell: sh}\n"
        )
    told = {}

    def hear(event: Event) -> None:
        if isinstance(event, Finished):
            told[event.index] = event.result.output.strip()

    load_pipeline(path).workflow(max_concurrency=WORKERS, on_event=hear).run()
    return [told[index] for index in range(count)]


def _make_beside(count: int, folder: str) -> list[str]:
    with open(os.path.join(folder, "Makefile"), "w") as file:
        file.write(f"all: {' '.join(f't{number}' for number in range(count))}\n")
        for number in range(count):
            file.write(f"t{number}:\n\t@sh -c 'echo {number}'\n")
    return sorted(_told(["make", "-s", f"-j{WORKERS}"], folder), key=int)


def _told(command: list[str], folder: str) -> list[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()


def _milliseconds_each(run: Run, full: int) -> Callable[[Scale], Reading]:
    def sample(scale: Scale) -> Reading:
        count = scale.of(full)
        with tempfile.TemporaryDirectory() as folder:
            run(2, folder)
            start = time.perf_counter()
            told = run(count, folder)
            seconds = time.perf_counter() - start
        verify(told, [str(number) for number in range(count)])
        return Reading(seconds / count * 1000)

    return sample


ROWS = (
    Row(
        24,
        f"a pipeline of {STAGES} stages of a trivial command, one after another",
        "ms a stage",
        "≤ 3 x make",
        [
            Entry(OURS, _milliseconds_each(_stages, STAGES)),
            Entry("make", _milliseconds_each(_make_in_order, STAGES), program="make"),
            Entry("sh", _milliseconds_each(_shell, STAGES)),
        ],
    ),
    Row(
        25,
        f"a workflow file of {JOBS} jobs of a trivial step, {WORKERS} at a time",
        "ms a job",
        "≤ 5 x make",
        [
            Entry(OURS, _milliseconds_each(_jobs, JOBS)),
            Entry("make -j2", _milliseconds_each(_make_beside, JOBS), program="make"),
        ],
    ),
)
