"""Rows 12 to 16: what a task of a graph costs when it does nothing, and how busy CPU-bound ones keep two cores."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable

import graphs
from graphs import Graph, RunGraph
from rows import OURS, Entry, Reading, Row, Scale, WrongResult, verify
from tasks import BUSY_SECONDS, busy

_PREFECT_SHARE = 25  # it takes tens of milliseconds a task, and its server fails under hundreds

_RUNNERS: dict[str, tuple[RunGraph, str | None]] = {
    OURS: (graphs.our_coroutines, None),
    f"{OURS}, in threads": (graphs.our_threads, None),
    "dask, threaded scheduler": (graphs.dask_threads, "dask"),
    "luigi": (graphs.luigi, "luigi"),
    "doit": (graphs.doit, "doit"),
    "prefect (1 in 25 of the tasks)": (graphs.prefect, "prefect"),
}


class _Calls:
    """Count the calls of tasks, which may come from several threads."""

    def __init__(self) -> None:
        self._calls = itertools.count()

    def note(self) -> None:
        """Be called by a task."""
        next(self._calls)

    @property
    def count(self) -> int:
        """How many calls there were. To be asked once."""
        return next(self._calls)


def _microseconds_each(run: RunGraph, make: Callable[[int], Graph], count: int, scale: Scale) -> Reading:
    graph = make(scale.of(count))
    run(make(40), _Calls().note)  # so that everything is imported and started
    calls = _Calls()
    start = time.perf_counter()
    run(graph, calls.note)
    seconds = time.perf_counter() - start
    if calls.count != len(graph):
        raise WrongResult(f"{calls.count} calls for {len(graph)} tasks")
    return Reading(seconds / len(graph) * 1e6)


def _entries(make: Callable[[int], Graph], count: int) -> list[Entry]:
    return [
        Entry(
            name,
            functools.partial(
                _microseconds_each, run, make, count // _PREFECT_SHARE if name.startswith("prefect") else count
            ),
            module,
        )
        for name, (run, module) in _RUNNERS.items()
    ]


def _busy_for(times: int, number: int) -> int:
    for _ in range(times):
        busy(number)
    return number


def _percent_of_two_cores(count: int, milliseconds: int, scale: Scale) -> Reading:
    from orchestrator import Task, Workflow

    graph = graphs.in_layers(scale.of(count))
    tasks = [
        Task(name, _busy_for, args=[milliseconds, number], dependencies=set(before))
        for number, (name, before) in enumerate(graph.items())
    ]
    Workflow(tasks=[Task(f"w{n}", time.sleep, args=[0.05]) for n in range(4)], executor="process", max_workers=2).run()
    flow = Workflow(tasks=tasks, executor="process", max_workers=2)
    start = time.perf_counter()
    results = flow.run()
    seconds = time.perf_counter() - start
    verify([result.value for result in results.values()], range(len(graph)))
    return Reading(len(graph) * milliseconds * BUSY_SECONDS / 2 / seconds * 100)


ROWS = (
    Row(12, "a graph of 2,000 independent tasks that do nothing", "µs a task", "25 µs; 80 in threads",
        _entries(graphs.independent, 2000), deadline_seconds=600.0),
    Row(13, "a chain of 1,000 tasks that do nothing", "µs a task", "25 µs; 80 in threads",
        _entries(graphs.in_a_chain, 1000), deadline_seconds=600.0),
    Row(14, "50 layers of 40 tasks, each waiting for 3 of the layer before", "µs a task", "25 µs; 80 in threads",
        _entries(graphs.in_layers, 2000), deadline_seconds=600.0),
    Row(15, "the same layers, each task 1 ms of CPU time in a worker process", "% of two cores", "85 %",
        [Entry(OURS, functools.partial(_percent_of_two_cores, 2000, 1))], more_is_better=True),
    Row(16, "10 layers, each task 10 ms of CPU time in a worker process", "% of two cores", "85 %",
        [Entry(OURS, functools.partial(_percent_of_two_cores, 400, 10))], more_is_better=True),
)  # fmt: skip
