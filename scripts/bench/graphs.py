"""The graphs of the workflow rows, and what runs them: each contender gets names, dependencies and one function.

A contender is called with a graph and returns when every task of it has run; `rows_workflow.py` counts.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Graph = Mapping[str, Sequence[str]]
RunGraph = Callable[[Graph, Callable[[], None]], None]

WIDTH, DEPENDENCIES = 40, 3


def independent(count: int) -> Graph:
    """Return tasks that wait for nothing."""
    return {f"t{number}": [] for number in range(count)}


def in_a_chain(count: int) -> Graph:
    """Return tasks of which each waits for the one before."""
    return {f"t{number}": [f"t{number - 1}"] if number else [] for number in range(count)}


def in_layers(count: int) -> Graph:
    """Return layers of 40 tasks; each waits for three of the layer before, drawn at random but always the same."""
    draw = random.Random(3)
    graph: dict[str, list[str]] = {}
    for layer in range(max(1, count // WIDTH)):
        for place in range(WIDTH):
            before = [f"t{layer - 1}-{other}" for other in draw.sample(range(WIDTH), DEPENDENCIES)] if layer else []
            graph[f"t{layer}-{place}"] = before
    return graph


def our_coroutines(graph: Graph, act: Callable[[], None]) -> None:
    """Run coroutine functions in a Workflow."""
    from orchestrator import Task, Workflow

    async def coroutine() -> None:
        act()

    _ours([Task(name, coroutine, dependencies=set(before)) for name, before in graph.items()], Workflow)


def our_threads(graph: Graph, act: Callable[[], None]) -> None:
    """Run plain callables in the threads of a Workflow."""
    from orchestrator import Task, Workflow

    _ours([Task(name, act, dependencies=set(before)) for name, before in graph.items()], Workflow)


def _ours(tasks: list[Any], workflow: Any) -> None:
    results = workflow(tasks=tasks).run()
    assert all(result.success for result in results.values())


def dask_threads(graph: Graph, act: Callable[[], None]) -> None:
    """Run dask's threaded scheduler, with as many threads as ours has."""
    from dask.threaded import get

    def call(*_: Any) -> None:
        act()

    ends = set(graph).difference(*graph.values())
    get({name: (call, *before) for name, before in graph.items()}, list(ends), num_workers=(os.cpu_count() or 1) + 4)


def luigi(graph: Graph, act: Callable[[], None]) -> None:
    """Run luigi's own worker, with its local scheduler and completeness kept in memory."""
    import luigi as lib

    logging.getLogger("luigi").setLevel(logging.CRITICAL)
    logging.getLogger("luigi-interface").setLevel(logging.CRITICAL)
    done: set[str] = set()

    class Node(lib.Task):  # type: ignore[misc]
        name = lib.Parameter()

        def requires(self) -> list[Any]:
            return [Node(name=before) for before in graph[self.name]]

        def run(self) -> None:
            act()
            done.add(self.name)

        def complete(self) -> bool:
            return self.name in done

    ends = set(graph).difference(*graph.values())
    lib.build([Node(name=name) for name in ends], local_scheduler=True, log_level="CRITICAL", no_lock=True)


def doit(graph: Graph, act: Callable[[], None]) -> None:
    """Run doit's runner, with its state in a file of JSON."""
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def tasks() -> Iterator[dict[str, Any]]:
        for name, before in graph.items():
            yield {"basename": name, "actions": [(act,)], "task_dep": list(before), "verbosity": 0}

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        config = {"GLOBAL": {"backend": "json", "dep_file": os.path.join(folder, "state"), "reporter": "zero"}}
        code = DoitMain(ModuleTaskLoader({"task_all": tasks}), extra_config=config).run(["run"])
        assert code == 0, f"doit ended with {code}"


def prefect(graph: Graph, act: Callable[[], None]) -> None:
    """Run a prefect flow with the thread pool task runner and its own short-lived server."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "PREFECT_HOME": folder,
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
            "DO_NOT_TRACK": "1",
        }
        import prefect as lib
        from prefect.task_runners import ThreadPoolTaskRunner

        task = lib.task(functools.partial(act), name="act")

        @lib.flow(task_runner=ThreadPoolTaskRunner(max_workers=(os.cpu_count() or 1) + 4))
        def flow() -> None:
            futures: dict[str, Any] = {}
            for name, before in graph.items():
                futures[name] = task.submit(wait_for=[futures[other] for other in before])
            for future in futures.values():
                future.wait()

        flow()
