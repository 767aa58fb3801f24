"""One-liners: run a script, pipe commands, chain, and what to make the steps of a workflow of. Thin layers.

A command or script that fails is a result (`run`, `pipe`, `batch`, `chain_scripts`, and what `shell` makes). Where one
stands for more than itself (`retry`, a step of a workflow) it is a failure: a StepError carries its result.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from orchestrator import settings
from orchestrator.dag.model import is_coroutine_function
from orchestrator.exceptions import OrchestratorTimeoutError, StepError
from orchestrator.in_worker import InWorker
from orchestrator.limits import GRACE_SECONDS, Limits, check_env, check_output_limit, check_seconds, tighter
from orchestrator.outcome import Ending, Outcome
from orchestrator.parallel_runner import BatchRunner, Script
from orchestrator.pipes import pipe
from orchestrator.pool.capture import OUTPUT_LIMIT
from orchestrator.programs import Program, Readable, Text, as_input, script_of, shell_of
from orchestrator.results import ExecutionResult, result_of_outcome
from orchestrator.retries import with_retry
from orchestrator.steps import StepResult, Steps, step, workflow
from orchestrator.stopping import in_thread

__all__ = [
    "StepResult",
    "Steps",
    "batch",
    "chain_scripts",
    "condition",
    "pipe",
    "python_func",
    "retry",
    "run",
    "run_async",
    "shell",
    "step",
    "timeout",
    "workflow",
]

_F = TypeVar("_F", bound=Callable[..., Any])


# Scripts


def run(script: str | os.PathLike[str], args: Sequence[str] | None = None, **options: Any) -> ExecutionResult:
    """Run one script as a process of its own and return what it ended with.

    `script` is a path, or, without `args`, one text with arguments quoted as for a shell ("report.py --year 2026").
    The keyword options are those of `BatchRunner`: `timeout` in seconds, `memory_limit` in bytes, `retries`, ...
    """
    return BatchRunner(**options).run_batch([_one_script(script, args)], 1)[0]


async def run_async(
    script: str | os.PathLike[str], args: Sequence[str] | None = None, **options: Any
) -> ExecutionResult:
    """Do as `run` does without blocking the event loop. Cancelled, it stops the script first."""
    return await in_thread(functools.partial(run, script, args, **options))


def batch(scripts: Sequence[Script], max_workers: int | None = None, **options: Any) -> list[ExecutionResult]:
    """Run scripts, `max_workers` at a time (None: `CODOMYRMEX_MAX_WORKERS`, else 4); results are in the order given.

    What a script is, and the keyword options, are as for `BatchRunner`.
    """
    return BatchRunner(**options).run_batch(scripts, settings.check_workers(max_workers))


def chain_scripts(*scripts: Script, **options: Any) -> list[ExecutionResult]:
    """Run scripts one after another, stopping at the first failure.

    There is a result for each: those after the failed one are SKIPPED, and say because of which. What a script is, and
    the keyword options, are as for `BatchRunner`.
    """
    runner = BatchRunner(**options)
    lines = [script_of(script) for script in scripts]  # which refuses what is no script before anything runs
    results: list[ExecutionResult] = []
    for script, line in zip(scripts, lines, strict=True):
        if results and not results[-1].success:
            reason = results[-1].reason
            if results[-1].ending is not Ending.SKIPPED:
                reason = f"skipped because {results[-1].name} failed ({results[-1].ending.value})\n"
            skipped = Outcome(Ending.SKIPPED, reason=reason, return_code=1)
            results.append(result_of_outcome(skipped, line.name))
        else:
            results += runner.run_batch([script], 1)
    return results


def _one_script(script: str | os.PathLike[str], args: Sequence[str] | None) -> Script:
    if isinstance(args, (str, bytes)):
        raise TypeError(f"args must be a list of arguments, such as [{args!r}], not one text")
    return script if args is None else [script, *args]


# Actions


def shell(
    command: str | Sequence[Text],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    memory_limit: int | str | None = None,
    grace: float = GRACE_SECONDS,
    stdin: Readable = None,
    output_limit: int = OUTPUT_LIMIT,
) -> Program:
    """Make a callable that runs a command and returns its ExecutionResult, whatever came of it.

    `command` is a line for `/bin/sh`, or a list of arguments, which no shell sees: `shell(["grep", pattern, path])`
    needs no quoting. Arguments of the call are the line's $1, $2, ..., or come at the end of the list; the call's
    `stdin` replaces this one. `env` are variables on top of the present ones; `timeout` is in seconds, `memory_limit`
    in bytes (or text such as "2G") for the process tree; `stdin` is text, bytes, a pathlib path, an open file or a
    result; nothing by default.

    Raises ValueError or TypeError at once for an empty command or options that make no sense.

    >>> shell('echo "hello $1"')("world").output
    'hello world\\n'
    """
    as_input(stdin)  # which refuses what makes no sense
    return shell_of(
        command,
        "the command",
        limits=Limits(timeout, memory_limit, grace),
        env=check_env(env),
        cwd=None if cwd is None else os.path.abspath(cwd),
        stdin=stdin,
        output_limit=check_output_limit(output_limit),
    )


def python_func(
    func: Callable[..., Any],
    *,
    timeout: float | None = None,
    memory_limit: int | str | None = None,
    grace: float = GRACE_SECONDS,
) -> Callable[..., Any]:
    """Make a callable that runs a function in a worker process, and returns its value or raises what it raised.

    Unlike a function in a thread it can be stopped: after `timeout` seconds it is, and OrchestratorTimeoutError is
    raised; beyond `memory_limit` bytes (or text such as "2G") MemoryError is. What it prints is printed here when it
    has ended; as a step of a workflow it is a task in a worker process, and its output is in its result.

    >>> python_func(sum)([1, 2, 3])
    6
    """
    if not callable(func):
        raise TypeError(f"python_func needs a callable, not {func!r}")
    return InWorker(func, Limits(timeout, memory_limit, grace))


def timeout(action: _F, seconds: float | None) -> _F:
    """Make a callable that stops the action after so many seconds of each call (None: no limit).

    A command is stopped with all it has started, and its result says so. A function runs in a worker process, because
    only a process can be stopped; a coroutine is cancelled; both then raise OrchestratorTimeoutError.
    """
    limit = check_seconds(seconds, "timeout")
    if not callable(action):
        raise TypeError(f"timeout needs something to call, not {action!r}")
    if limit is None:
        return action
    if isinstance(action, Program):
        return replace(action, limits=tighter(action.limits, Limits(limit)))
    if isinstance(action, InWorker):
        return cast(_F, InWorker(action.func, tighter(action.limits, Limits(limit))))
    if is_coroutine_function(action):
        return cast(_F, _timed_coroutine(action, limit))
    return cast(_F, InWorker(action, Limits(limit)))


def _timed_coroutine(action: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    @functools.wraps(action)
    async def call(*args: Any, **kwargs: Any) -> Any:
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await action(*args, **kwargs)
        except TimeoutError as error:
            if not deadline.expired():  # its own
                raise
            raise OrchestratorTimeoutError(f"its time limit passed ({seconds:g} s)") from error

    return call


def retry(
    action: Callable[..., Any],
    attempts: int = 3,
    *,
    initial_delay: float = 1.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
    retry_on: tuple[type[BaseException], ...] = (Exception,),
    jitter: bool = False,
) -> Callable[..., Any]:
    """Make a callable that calls the action again when it fails, up to so many `attempts` in all.

    A failure is an exception, or an ExecutionResult that is no success. The last exception is raised unchanged; the
    last result is raised as a StepError, whose `result` has the earlier ones in its `history`. The keyword options
    are those of `with_retry`: seconds before the second attempt, at most, and by how much they grow; which exceptions
    count.
    """
    kinds = (*retry_on, StepError) if isinstance(retry_on, tuple) else retry_on
    again = with_retry(attempts, initial_delay, max_delay, exponential_base, kinds, jitter=jitter)
    if not callable(action):
        raise TypeError(f"retry needs something to call, not {action!r}")
    if is_coroutine_function(action):

        @functools.wraps(action)
        async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
            judge = _Judge()

            async def attempt() -> Any:
                return judge.take(await action(*args, **kwargs))

            return await again(attempt)()

        return call_coroutine

    @functools.wraps(action, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        judge = _Judge()
        return again(lambda: judge.take(action(*args, **kwargs)))()

    return call


class _Judge:
    """Tell a failed result from a good one, and count the attempts of one call."""

    def __init__(self) -> None:
        self._history: tuple[ExecutionResult, ...] = ()

    def take(self, value: Any) -> Any:
        """Return a value, or raise the StepError of a result that is no success."""
        if not isinstance(value, ExecutionResult):
            return value
        result = replace(value, attempts=len(self._history) + 1, history=self._history)
        if result.success:
            return result
        self._history = (*self._history, result)
        raise StepError(f"{result.name} ended with code {result.return_code} ({result.ending.value})", result)


def condition(predicate: Callable[..., bool], action: Callable[..., Any]) -> Callable[..., Any]:
    """Make a callable that gives its arguments to the predicate, and to the action if that says yes, else returns None.

    >>> halve = condition(lambda n: n % 2 == 0, lambda n: n // 2)
    >>> halve(8), halve(7)
    (4, None)
    """
    for what, function in (("predicate", predicate), ("action", action)):
        if not callable(function):
            raise TypeError(f"condition needs a callable as its {what}, not {function!r}")
    if is_coroutine_function(predicate):
        raise TypeError("condition needs a plain function as its predicate, not a coroutine function")
    if is_coroutine_function(action):

        @functools.wraps(action)
        async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
            return await action(*args, **kwargs) if predicate(*args, **kwargs) else None

        return call_coroutine

    @functools.wraps(action, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        return action(*args, **kwargs) if predicate(*args, **kwargs) else None

    return call
