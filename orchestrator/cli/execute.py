"""Carry out an order: a workflow does it, the display and the results folder are told, signals are heard.

What comes out is a `Record`, complete also when the run was stopped or could not go on.
"""

from __future__ import annotations

import time
from typing import Any

from orchestrator.cli.display import Display
from orchestrator.cli.order import Order
from orchestrator.cli.record import Record
from orchestrator.cli.results_folder import ResultsFolder
from orchestrator.cli.signals import Stoppable, StopSignals
from orchestrator.dag.workflow import Workflow
from orchestrator.events import Event, Finished, Listener, Started
from orchestrator.exceptions import ConcurrencyError, OrchestratorTimeoutError, TaskFailedError
from orchestrator.pool.pool import Pool
from orchestrator.results import ExecutionResult


def execute(
    order: Order,
    display: Display,
    folder: ResultsFolder | None,
    *,
    heard: Listener | None = None,
    live_output: bool = False,
    own: Workflow | None = None,
    runner: Stoppable | None = None,
    at_once: bool = False,
) -> Record:
    """Run the tasks of an order to their end. Signals are handled meanwhile, so: main thread only.

    `heard` hears of each event first. `own` is the workflow that the tasks belong to, where they are not for us to run
    in a pool of ours. Signals stop the `runner` (None: the workflow); with `at_once` the first Ctrl-C stops what runs.
    """
    results: dict[int, ExecutionResult] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            signals.repeat()
        elif isinstance(event, Finished):
            results[event.index] = event.result
            if folder is not None:
                folder.write(event.index, event.result)
        if heard is not None:
            heard(event)
        display.show(event)

    ended_early = problem = ""
    start = time.monotonic()
    with Pool(order.jobs) as pool:
        flow = own or order.workflow(executor=pool, live_output=live_output)
        flow.add_listener(listen)
        draining = "waiting for" if runner is None else "cancelling"
        signals = StopSignals(runner or flow, display, at_once=at_once, draining=draining)
        with signals.listening(), display.watching(pool.snapshot):
            try:
                flow.run()
            except TaskFailedError:
                pass  # it was told to give up; every task has its result all the same
            except OrchestratorTimeoutError as error:
                ended_early = str(error)
            except (ConcurrencyError, OSError) as error:
                problem = str(error) or type(error).__name__
    seconds = time.monotonic() - start
    problem = problem or _contention(results)
    return Record(order, dict(sorted(results.items())), seconds, signals.received, problem, ended_early)


def _contention(results: dict[int, Any]) -> str:
    """Return why no task at all could be run, if that was for want of processes."""
    errors = [result.exception for result in results.values()]
    first = errors[0] if errors else None
    return str(first) if isinstance(first, ConcurrencyError) and all(type(e) is type(first) for e in errors) else ""
