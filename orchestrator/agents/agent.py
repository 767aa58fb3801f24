"""Agent: what can be given a task as text, and on which terms. `task` makes a run of it a Task of a workflow.

A coroutine function runs in the event loop, a plain callable in a thread or, with a limit, in a worker process, a
command as a process of its own: as the workflow has it for any Task. Here only the places are added.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import settings
from orchestrator.agents.command import AgentCommand, AskedProgram, command_of
from orchestrator.agents.places import Crew, Gate
from orchestrator.dag.lanes import RUNNERS_LEEWAY, LoopLane
from orchestrator.dag.model import Task, TaskResult, Where, is_coroutine_function
from orchestrator.dag.references import result_of
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import StepError
from orchestrator.limits import GRACE_SECONDS, NO_LIMITS, Limits
from orchestrator.outcome import Outcome
from orchestrator.placeholders import Asked, AskedInLoop, names_in
from orchestrator.programs import Program
from orchestrator.results import ExecutionResult
from orchestrator.retries import RetryPolicy, policy_of

_STOPPING_SECONDS = RUNNERS_LEEWAY + 1
"""What the workflow within a place may need, on top of the grace period, to stop what it runs."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for each run of an agent. `env` is told to nobody."""

    limits: Limits = NO_LIMITS
    policy: RetryPolicy | None = None
    concurrency: int | None = None
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | None = None
    description: str = ""


def terms_of(
    name: str,
    *,
    limits: tuple[float | None, int | str | None, float] = (None, None, GRACE_SECONDS),
    retries: tuple[int, RetryPolicy | None] = (0, None),
    concurrency: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    description: str = "",
) -> Terms:
    """Return the options of `AgentOrchestrator.register`, checked. Raises TypeError or ValueError, naming the agent."""
    try:
        if concurrency is not None:
            settings.check_workers(concurrency, "concurrency")
        if retries[1] is not None and not isinstance(retries[1], RetryPolicy):
            raise TypeError(f"retry_policy must be a RetryPolicy, not {retries[1]!r}")
        if not isinstance(description, str):
            raise TypeError(f"the description must be text, not {description!r}")
        if not (env is None or isinstance(env, Mapping)):
            raise TypeError(f"env must be a dict of variables, not {type(env).__name__}")
        variables = None if env is None else dict(env)
        for variable, value in (variables or {}).items():
            if not isinstance(variable, str) or not isinstance(value, str):
                raise TypeError(f"the variable {variable!r} must be text, not {type(value).__name__}")
        folder = None if cwd is None else os.fsdecode(cwd)
        return Terms(Limits(*limits), policy_of(*retries), concurrency, variables, folder, description)
    except (TypeError, ValueError) as error:
        raise type(error)(f"agent {name!r}: {error}") from None


class Agent:
    """One agent: a command, a program, or what is called with the task."""

    def __init__(self, name: str, agent: object, terms: Terms) -> None:
        self.name = name
        self.terms = terms
        self._action = _action(name, agent)
        if callable(self._action) and (terms.env is not None or terms.cwd is not None):
            raise ValueError(f"agent {name!r}: env and cwd are for commands, which it is not")
        limits = terms.limits
        is_coroutine = callable(self._action) and is_coroutine_function(self._action)
        self._in_loop = is_coroutine and limits.memory is None
        self._is_program = isinstance(self._action, (tuple, Program))
        self._in_process = self._is_program or (
            not self._in_loop and (limits.seconds is not None or limits.memory is not None)
        )
        self._gate: Gate | None = None
        self._crew: Crew | None = None
        if terms.concurrency is not None and self._in_process:
            self._crew = Crew(terms.concurrency)
        elif terms.concurrency is not None:
            self._gate = Gate(name, terms.concurrency)

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks whose results the command wants."""
        return names_in(*self._action) if isinstance(self._action, tuple) else ()

    def close(self) -> None:
        """Let go of workers that are kept warm; running work ends first."""
        if self._crew is not None:
            self._crew.close()

    def task(self, name: str, text: str, names: tuple[str, ...] = (), dependencies: Collection[str] = ()) -> Task:
        """Return a run of this agent as a task of a workflow.

        `names` are the tasks whose results stand in the text or in the command; what else has braces is text.
        """
        limits = self.terms.limits
        action = self._asked(text, names)
        args = [text] if action is self._action else [result_of(other) for other in names]
        needs, policy = set(dependencies), self.terms.policy
        where: Where | None = None if self._in_loop or self._is_program else "thread"
        if self._gate is not None:
            inner = Task(self.name, action, executor=where, timeout=limits.seconds, grace=limits.grace)
            patience = limits.grace + _STOPPING_SECONDS
            if policy is not None:
                policy = _Once(policy)
            return Task(name, InPlace(self._gate, inner), args, dependencies=needs, retry_policy=policy, grace=patience)
        if self._crew is not None:
            where = self._crew
        elif self._in_process and not self._is_program:
            where = "process"
        return Task(
            name,
            action,
            args,
            dependencies=needs,
            timeout=limits.seconds,
            retry_policy=policy,
            executor=where,
            memory_limit=limits.memory,
            grace=limits.grace,
        )

    def _asked(self, text: str, names: tuple[str, ...]) -> Callable[..., Any]:
        """Return what is called with the results of these tasks; or the agent itself, to be called with the text."""
        action = self._action
        if isinstance(action, tuple):
            env, cwd = self.terms.env, self.terms.cwd
            return AgentCommand(name=self.name, command=action, task=text, names=names, env=env, cwd=cwd)
        if isinstance(action, Program):
            terms: dict[str, Any] = {"limits": action.limits, "env": action.env, "cwd": action.cwd}
            return AskedProgram(name=self.name, program=action, task=text, names=names, **terms)
        if self._in_loop:
            return AskedInLoop(action, text, names) if names else action
        # A coroutine function in a worker is called as any function is: the worker awaits what it returns.
        return Asked(action, text, names) if names or is_coroutine_function(action) else action


def _action(name: str, agent: Any) -> tuple[str, ...] | Callable[..., Any]:
    """Return an agent's command, or what is called with the task. Raises TypeError or ValueError for what is none."""
    if isinstance(agent, (str, bytes)):
        raise TypeError(
            f"agent {name!r}: a command must be a list of arguments, which no shell sees, such as "
            f"['mytool', '--prompt', '{{task}}'], not the one text {agent!r}"
        )
    if isinstance(agent, Sequence):
        return command_of(name, agent)
    if asyncio.iscoroutine(agent):
        agent.close()  # or it would warn that it was never awaited
        raise TypeError(f"agent {name!r} is a coroutine: give the function that makes it")
    if isinstance(agent, type):
        raise TypeError(f"agent {name!r} is a class: give an object of it, such as {agent.__name__}()")
    for action in (agent, getattr(agent, "run", None), getattr(agent, "execute", None)):
        if callable(action):
            try:
                return Task(name, action).action
            except TypeError as error:  # a generator function
                raise TypeError(f"agent {name!r}: {str(error).partition(': ')[2]}") from None
    raise TypeError(
        f"agent {name!r} must be callable, have a method run or execute, or be a command as a list of arguments, "
        f"not {agent!r}"
    )


class InPlace:
    """Run a task when there is a place: for what shares this process, in the event loop or in a thread.

    It is a workflow of its own, which holds the task to its time limit from its real start on.
    """

    def __init__(self, gate: Gate, task: Task) -> None:
        self._gate = gate
        self._task = task
        self.last: TaskResult | None = None
        """What the last run came to; its duration is without the wait."""

    async def __call__(self, *args: Any) -> Any:
        """Wait for a place, run it, and return its value, or raise what it failed with."""
        async with self._gate.place():
            task = replace(self._task, args=list(args))
            results = await Workflow(task.name, tasks=[task], timeout=math.inf).execute()
        self.last = result = results[task.name]
        if result.success:
            return result.value
        if isinstance(result.exception, Exception):
            raise result.exception
        # Also what is no Exception: in the event loop it would be taken for a Ctrl-C of the user's.
        what = f"{task.name} ended with code {result.return_code} ({result.ending.value})"
        raise StepError(what, _as_execution(result))


class _Once(RetryPolicy):
    """A policy, but for a coroutine that was given up: it may still run, and must not run twice at a time."""

    def __init__(self, policy: RetryPolicy) -> None:
        vars(self).update(vars(policy))  # what there is to read of it
        self._policy = policy

    def decide(self, outcome: Outcome, attempt: int) -> float | None:
        """Return what the policy does, or None where the engine too would make no other attempt."""
        return None if LoopLane.remains in outcome.reason else self._policy.decide(outcome, attempt)


def _as_execution(result: TaskResult) -> ExecutionResult:
    reason = f"{result.error}\n"
    code, seconds, ending = result.return_code, result.execution_time, result.ending
    return ExecutionResult(False, "", reason, code, seconds, ending=ending, name=result.name, reason=reason)
