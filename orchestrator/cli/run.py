"""Run an order: the runner does it, the display and the results folder are told, signals are heard.

What comes out is a `Record`, complete also when the run was stopped or could not go on.
"""

from __future__ import annotations

import time

from orchestrator.cli.display import Display
from orchestrator.cli.order import Order
from orchestrator.cli.record import Record
from orchestrator.cli.results_folder import ResultsFolder
from orchestrator.cli.signals import StopSignals
from orchestrator.events import Event, Finished, Started
from orchestrator.exceptions import ConcurrencyError
from orchestrator.parallel_runner import BatchRunner
from orchestrator.results import ExecutionResult


def run(order: Order, display: Display, folder: ResultsFolder | None) -> Record:
    """Run the scripts and return what came of it. Signals are handled meanwhile, so: main thread only."""
    results: dict[int, ExecutionResult] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            signals.repeat()
        elif isinstance(event, Finished):
            results[event.index] = event.result
            if folder is not None:
                folder.write(event.index, event.result)
        display.show(event)

    runner = BatchRunner(
        timeout=order.limits.seconds,
        memory_limit=order.limits.memory,
        grace=order.limits.grace,
        retries=order.retries,
        fail_fast=order.fail_fast,
        on_event=listen,
        env=order.env,
        cwd=order.cwd,
    )
    problem = ""
    start = time.monotonic()
    signals = StopSignals(runner, display)
    with signals, display.watching(runner.snapshot):
        try:
            runner.run_batch(order.commands(), batch_size=order.jobs)
        except (ConcurrencyError, OSError) as error:
            problem = str(error) or type(error).__name__
    seconds = time.monotonic() - start
    return Record(order, dict(sorted(results.items())), seconds, signals.received, problem)
