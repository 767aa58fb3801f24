"""Rows 8, 9 and 11: what it takes to begin, and what an idle worker holds."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import time

import psutil
from contenders import CONTENDERS, MODULES, WORKERS, Open, spawning_executor, warm
from rows import OURS, Entry, Reading, Row, Scale, WrongResult
from tasks import worker_pid

_FIRST_RESULT = {
    OURS: """
import functools
from orchestrator import run_parallel
print(run_parallel([functools.partial(pow, 2, 10)], max_workers=2, timeout=60)[0].value, flush=True)
""",
    "ProcessPoolExecutor": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as executor:
    print(executor.submit(pow, 2, 10).result(), flush=True)
""",
    "loky": """
from loky import get_reusable_executor
print(get_reusable_executor(max_workers=2).submit(pow, 2, 10).result(), flush=True)
""",
    "joblib": """
from joblib import Parallel, delayed
print(Parallel(n_jobs=2)([delayed(pow)(2, 10)])[0], flush=True)
""",
    "pebble": """
from pebble import ProcessPool
with ProcessPool(max_workers=2) as pool:
    print(pool.schedule(pow, args=(2, 10)).result(), flush=True)
""",
}

# Ours loads each name on first use: to be compared with peers that load everything, a name has to be used.
_IMPORTED = {
    OURS: "from orchestrator import run_parallel",
    f"{OURS}, no name used": "import orchestrator",
    "pebble": "import pebble",
    "joblib": "import joblib",
    "loky": "import loky",
    "concurrent.futures.process": "import concurrent.futures.process",
    "dask": "import distributed",
}
_IMPORTS = 5


def _first_result(program: str, scale: Scale) -> Reading:
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as interpreter:
        assert interpreter.stdout is not None
        told = interpreter.stdout.readline()
        seconds = time.perf_counter() - start
    if told != "1024\n" or interpreter.returncode:
        raise WrongResult(f"it wrote {told!r} and ended with {interpreter.returncode}")
    return Reading(seconds * 1000)


def _import(statement: str, scale: Scale) -> Reading:
    """Time a new interpreter with the import and one without it, in turn, and return the difference."""
    _interpreter_seconds(statement)  # where needed this compiles it
    pairs = [(_interpreter_seconds(statement), _interpreter_seconds("pass")) for _ in range(_IMPORTS)]
    return Reading(statistics.median(full - bare for full, bare in pairs) * 1000)


def _interpreter_seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def _idle_megabytes(open_contender: Open, scale: Scale) -> Reading:
    """Return the memory that only the worker has (its unique set size), a mean over the workers."""
    with open_contender() as run:
        warm(run)
        pids: set[int] = set()
        for _ in range(10):
            values = run([functools.partial(worker_pid, 0.1)] * WORKERS)
            pids.update(value for value in values if isinstance(value, int))
            if len(pids) == WORKERS:
                break
        else:
            raise WrongResult(f"{len(pids)} workers were seen, not {WORKERS}")
        unique = [psutil.Process(pid).memory_full_info().uss for pid in pids]
    return Reading(statistics.mean(unique) / 1e6)


ROWS = (
    Row(
        8,
        "from a new interpreter to the first result",
        "ms",
        "≤ 250 ms",
        [
            Entry(name, functools.partial(_first_result, program), MODULES[name])
            for name, program in _FIRST_RESULT.items()
        ],
    ),
    Row(
        9,
        "the import, beyond a bare interpreter",
        "ms",
        "≤ 60 ms",
        [Entry(name, functools.partial(_import, text), MODULES.get(name)) for name, text in _IMPORTED.items()],
    ),
    Row(
        11,
        "memory of an idle worker that it shares with nobody",
        "MB",
        "≤ 12 MB",
        [
            *(
                Entry(name, functools.partial(_idle_megabytes, CONTENDERS[name][0]), MODULES[name])
                for name in (OURS, "loky", "joblib", "dask")
            ),
            Entry("ProcessPoolExecutor, spawned", functools.partial(_idle_megabytes, spawning_executor)),
        ],
    ),
)
