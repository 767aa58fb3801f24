"""What a workflow is made of and what comes of it: Task, TaskStatus, TaskResult. Values; nothing runs here."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Literal

from orchestrator.dag.references import names_in
from orchestrator.exceptions import StepError
from orchestrator.limits import GRACE_SECONDS, NO_LIMITS, Limits
from orchestrator.outcome import Ending, Outcome
from orchestrator.pool.job import ProgramAction
from orchestrator.results import ExecutionResult, value_or_raise
from orchestrator.retries import RetryPolicy

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

ALL_RESULTS = "_task_results"
"""A parameter of this name gets the results of every task that has ended so far."""

TriggerRule = Literal["all_success", "all_done"]
"""When a task may start: when all it depends on has completed, or has ended in any way."""

Where = Literal["thread", "process"] | Executor
"""Where a plain callable runs: in a thread, in a worker process, or wherever an executor has it run."""


class TaskStatus(Enum):
    """Where a task is in its life; `Plan` has the legal moves."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    RETRYING = "retrying"

    # There is one object of each, and Enum's own hash is a slow function in Python.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Declined:
    """What a condition may answer instead of False, to say why: "the stage 'build' failed"."""

    reason: str

    def __bool__(self) -> bool:
        return False


@dataclass(slots=True)
class TaskResult:
    """What a task ended with, or one attempt at it.

    `error` is None, or why it failed: the traceback, or a sentence. `execution_time` and `cpu_time` are the
    last attempt's seconds, `started` the seconds from the workflow's start to that attempt's. `output` and
    `stderr` are what a task in a worker process, or a command, wrote; `peak_memory` is in bytes; in this process
    neither is known (0), and the CPU time only for tasks in threads. `notes` tell what else a reader should know.
    `history` holds the earlier attempts, which all failed.
    """

    success: bool
    value: Any = None
    error: str | None = None
    execution_time: float = 0.0
    attempts: int = 1
    name: str = ""
    ending: Ending = Ending.OK
    started: float = 0.0
    output: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    return_code: int = 0
    cpu_time: float = 0.0
    peak_memory: int = 0
    pid: int | None = None
    exception: BaseException | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    history: tuple[TaskResult, ...] = field(default=(), repr=False)

    @property
    def status(self) -> TaskStatus:
        """COMPLETED, FAILED or SKIPPED."""
        if self.success:
            return TaskStatus.COMPLETED
        return TaskStatus.SKIPPED if self.ending is Ending.SKIPPED else TaskStatus.FAILED

    def unwrap(self) -> Any:
        """Return the value, or raise what the task failed with, as `ExecutionResult.unwrap` does."""
        return value_or_raise(self)


def task_result(
    outcome: Outcome,
    name: str,
    *,
    attempts: int = 1,
    started: float = 0.0,
    notes: tuple[str, ...] = (),
    history: tuple[TaskResult, ...] = (),
) -> TaskResult:
    """Make the public result from what came of an attempt."""
    ending, value, reason, exception, code, seconds, cpu, peak, pid, stdout, stderr, _, _ = outcome
    return TaskResult(
        ending is Ending.OK, value, None if ending is Ending.OK else reason.rstrip("\n"), seconds, attempts, name,
        ending, started, stdout.decode("utf-8", "replace") if stdout else "",
        stderr.decode("utf-8", "replace") if stderr else "", code, cpu, peak, pid, exception, notes, history,
    )  # fmt: skip


def carried(error: BaseException | None) -> ExecutionResult | None:
    """Return the result that a StepError carries."""
    result = error.result if isinstance(error, StepError) else None
    return result if isinstance(result, ExecutionResult) else None


def outcome_of_result(result: ExecutionResult, outcome: Outcome) -> Outcome:
    """Return what became of an attempt whose action returned an ExecutionResult, with its streams and figures.

    One that is no success makes the attempt a failure of the same ending.
    """
    stdout, stderr = result.streams
    outcome = outcome._replace(
        return_code=result.return_code,
        cpu_seconds=result.cpu_time or outcome.cpu_seconds,
        peak_memory=result.peak_memory or outcome.peak_memory,
        pid=result.pid or outcome.pid,
        stdout=outcome.stdout + stdout,
        stderr=outcome.stderr + stderr,
    )
    if result.success:
        return outcome
    what = f"{result.name or 'the command'} ended with code {result.return_code} ({result.ending.value})"
    ending = Ending.RAISED if result.ending is Ending.SKIPPED else result.ending
    reason = f"{what}\n{result.error}"
    return outcome._replace(ending=ending, value=None, reason=reason, exception=StepError(what, result))


@dataclass(slots=True)
class Task:
    """One node of a workflow.

    Parameters: `name`, unique within the workflow; `action`, called with `args` and `kwargs`, in which
    `result_of("other")` stands for another task's value; `dependencies`, the names of the tasks that must have
    completed first; `timeout`, seconds for each attempt (None: no limit); `retry_policy`, when a failed attempt
    is made again (None: never); `condition`, called in the event loop with the results so far: if it says no,
    the task and what depends on it are SKIPPED, if it raises, the task fails.

    A coroutine function runs in the event loop; a plain callable in a thread, or, with a `timeout`, a
    `memory_limit` or `executor="process"`, in a worker process, because only a process can be stopped.
    `memory_limit` is in bytes, or text such as "2G", for the whole process tree. `executor` may also be "thread"
    or any `concurrent.futures.Executor`; None means the workflow's. `grace` is the seconds between being asked
    to stop and being killed or given up. With `trigger_rule="all_done"` (Airflow's name for it) the task waits
    for the end of what it depends on, whatever came of that; its `condition` can look at the results.

    Raises TypeError or ValueError at once for what makes no sense.
    """

    name: str
    action: Callable[..., Any]
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    dependencies: set[str] = field(default_factory=set)
    timeout: float | None = None
    retry_policy: RetryPolicy | None = None
    condition: Callable[[dict[str, TaskResult]], bool | Declined] | None = None
    executor: Where | None = None
    memory_limit: int | str | None = None
    grace: float = GRACE_SECONDS
    trigger_rule: TriggerRule = "all_success"
    owner: weakref.ref[Any] | None = field(default=None, init=False, repr=False, compare=False)
    """The workflow it was added to: a task belongs to one at most."""
    _traits: tuple[Callable[..., Any], bool, bool] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"a task's name must be text that is not empty, not {self.name!r}")
        self._check_action()
        if isinstance(self.args, (str, bytes, dict)):
            raise TypeError(f"{self}: args must be a list of arguments, not {self.args!r}")
        self.args = list(self.args)
        self.kwargs = dict(self.kwargs)
        self.check_dependencies()
        if self.retry_policy is not None and not isinstance(self.retry_policy, RetryPolicy):
            raise TypeError(f"{self}: retry_policy must be a RetryPolicy, not {self.retry_policy!r}")
        self._check_condition()
        self._check_executor()
        if self.trigger_rule not in ("all_success", "all_done"):
            raise ValueError(f"{self}: trigger_rule must be 'all_success' or 'all_done', not {self.trigger_rule!r}")

    def __str__(self) -> str:
        return f"task {self.name!r}"

    @property
    def limits(self) -> Limits:
        """What each attempt may use."""
        if self.timeout is None and self.memory_limit is None and self.grace == GRACE_SECONDS:
            return NO_LIMITS
        return Limits(self.timeout, self.memory_limit, self.grace)

    @property
    def has_limits(self) -> bool:
        """Whether there is anything that an attempt is to be stopped for."""
        limits = self.limits
        return limits.seconds is not None or limits.memory is not None

    @property
    def is_coroutine(self) -> bool:
        """Whether calling the action gives a coroutine."""
        return self._looked_at()[1]

    @property
    def is_program(self) -> bool:
        """Whether the action is a program of its own, not a function."""
        return isinstance(self.action, ProgramAction)

    @property
    def wants_all_results(self) -> bool:
        """Whether the action has a parameter named `_task_results`."""
        return self._looked_at()[2]

    def _looked_at(self) -> tuple[Callable[..., Any], bool, bool]:
        """Look at the action once, which takes as long as running a small task."""
        traits = self._traits
        if traits is None or traits[0] is not self.action:
            action = self.action
            traits = self._traits = action, is_coroutine_function(action), _wants_all_results(action)
        return traits

    def needs(self) -> set[str]:
        """Return the names of all tasks this one waits for: those declared and those whose values it takes."""
        references = names_in(self.args, self.kwargs)
        return self.dependencies.union(references) if references else self.dependencies

    def check_dependencies(self) -> None:
        """Make `dependencies` a set of names. Raises TypeError for anything else, one text included."""
        names = self.dependencies
        if isinstance(names, (str, bytes)):
            raise TypeError(
                f"{self}: dependencies must be a set of names, such as {{{names!r}}}, not the one text {names!r}"
            )
        try:
            self.dependencies = set(names)
        except TypeError:
            raise TypeError(f"{self}: dependencies must be a set of names, not {names!r}") from None
        for name in self.dependencies:
            if not isinstance(name, str):
                raise TypeError(f"{self}: dependencies must be names of tasks, not {name!r}")

    def _check_action(self) -> None:
        if not callable(self.action):
            raise TypeError(f"{self}: the action must be callable, not {self.action!r}")
        code = _plain_code(self.action)
        function = _function_of(self.action)
        if (
            code.co_flags & _GENERATORS
            if code is not None
            else inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        ):
            raise TypeError(
                f"{self}: the action is a generator function, and calling one runs nothing: wrap it, as in list(f())"
            )

    def _check_condition(self) -> None:
        if self.condition is None:
            return
        if not callable(self.condition):
            raise TypeError(f"{self}: the condition must be callable, not {self.condition!r}")
        if is_coroutine_function(self.condition):
            raise TypeError(
                f"{self}: the condition must be a plain function; what a coroutine finds out, a task can return"
            )

    def _check_executor(self) -> None:
        """Refuse limits where nothing could enforce them."""
        where = self.executor
        if where is None and self.timeout is None and self.memory_limit is None and self.grace == GRACE_SECONDS:
            return  # as most are
        check_executor(where, str(self))
        limits = self.limits  # which refuses numbers that make no sense
        if self.is_coroutine:
            if where is not None and where != "process":
                raise ValueError(
                    f"{self}: a coroutine function runs in the event loop; its executor can only be 'process'"
                )
            if limits.memory is not None and where != "process":
                raise ValueError(f"{self}: a coroutine shares this process; a memory_limit needs executor='process'")
        elif self.has_limits and where not in (None, "process") and not runs_limits(where):
            raise ValueError(
                f"{self}: a thread cannot be stopped, so a timeout or memory_limit needs executor='process' (the "
                "default for it); or leave the limit out"
            )


def check_executor(where: object, whose: str) -> None:
    """Raise TypeError for what is no place to run callables in."""
    if not (where is None or where in ("thread", "process") or isinstance(where, Executor)):
        raise TypeError(f"{whose}: executor must be 'thread', 'process', an Executor or None, not {where!r}")


def runs_limits(executor: object) -> bool:
    """Whether an executor can hold a task to its limits: a Pool of ours."""
    return hasattr(executor, "submit_limited")


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling this gives a coroutine: also for partials, and objects whose `__call__` is one."""
    code = _plain_code(function)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_function_of(function))


def _wants_all_results(function: Callable[..., Any]) -> bool:
    """Whether a callable has a parameter named `_task_results`, as far as its code tells.

    `inspect.signature` would cost as much as running a small task.
    """
    code = _plain_code(function)
    if code is not None:
        return ALL_RESULTS in code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    seen: set[int] = set()  # a function may say that it wraps itself
    while id(function) not in seen:
        seen.add(id(function))
        inner = _function_of(function)
        if isinstance(inner, FunctionType):
            code = inner.__code__
            if ALL_RESULTS in code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]:
                return True
        function = _own(function).get("__wrapped__") or _own(inner).get("__wrapped__", inner)
    return False


def _plain_code(action: object) -> CodeType | None:
    """Return the code of a function that is nothing else, neither marked nor wrapping another: most are only that."""
    return action.__code__ if type(action) is FunctionType and not action.__dict__ else None


def _function_of(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function under partials, a bound method, or an object that can be called.

    By type only: there are objects that answer to every name, such as the methods of an XML-RPC proxy.
    """
    while isinstance(action, partial):
        action = action.func
    if isinstance(action, MethodType):
        action = action.__func__
    if isinstance(action, (FunctionType, type)):
        return action
    called = type(action).__call__
    return called if isinstance(called, FunctionType) else action


def _own(thing: object) -> dict[str, Any]:
    """Return the attributes that an object itself has; not those that it makes up when asked."""
    attributes = getattr(thing, "__dict__", None)
    return attributes if isinstance(attributes, dict) else {}
