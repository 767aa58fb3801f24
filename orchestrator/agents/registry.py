"""AgentOrchestrator: agents by name, run alone or as tasks of workflows. And the one behind `run_agent_task`.

Whatever comes of a run is a TaskResult, as of any task; nothing of it is left when it has ended or was cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from types import TracebackType

from orchestrator import settings
from orchestrator.agents.agent import Agent, InPlace, terms_of
from orchestrator.agents.configured import configured_agent
from orchestrator.config import Config, read_config
from orchestrator.config.places import closest, cut
from orchestrator.dag.model import Task, TaskResult
from orchestrator.dag.workflow import Workflow
from orchestrator.exceptions import ConfigError
from orchestrator.limits import GRACE_SECONDS
from orchestrator.outcome import Ending
from orchestrator.placeholders import names_in
from orchestrator.python_files import PythonFiles
from orchestrator.retries import RetryPolicy
from orchestrator.stopping import outside_of_a_loop
from orchestrator.wording import visible

_lock = threading.RLock()  # guards the default orchestrator, and the agents and counts of all of them
_default: AgentOrchestrator | None = None

# Held while a Python file is executed, which may take long and may run agents: nobody else waits for it but for a file.
_file_lock = threading.Lock()
_executed: ContextVar[tuple[tuple[AgentOrchestrator, str], ...]] = ContextVar("orchestrator agents files", default=())
"""The files whose execution the present call is part of. It has the lock above, or an outer one has it for it."""


class AgentOrchestrator:
    """Run agents: commands, callables, coroutine functions, and objects with a method `run` or `execute`.

    `config` is one that was read (`orchestrator.config.read_config`), whose agents are registered too. Safe in several
    threads and event loops. As a context manager it lets its workers go at the end, see `close`.

    >>> agents = AgentOrchestrator()
    >>> agents.register("shout", str.upper)
    >>> asyncio.run(agents.run_agent_task("shout", "well done")).value
    'WELL DONE'
    """

    def __init__(self, config: Config | None = None) -> None:
        self._agents: dict[str, Agent | None] = {}
        self._config = config
        self._files = PythonFiles("agents")
        self._running = 0
        if config is not None:
            self._agents |= dict.fromkeys(config.values["agents"])  # each is made when it is first wanted

    @staticmethod
    def default() -> AgentOrchestrator:
        """Return the one that `run_agent_task` uses: made at its first use, with the agents of the nearest config.

        Raises ConfigError for a mistake in that.
        """
        global _default
        with _lock:
            if _default is None:
                _default = AgentOrchestrator(read_config())
            return _default

    # The agents

    def register(
        self,
        name: str,
        agent: object,
        *,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        retries: int = 0,
        retry_policy: RetryPolicy | None = None,
        concurrency: int | None = None,
        grace: float = GRACE_SECONDS,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        description: str = "",
        replace: bool = False,
    ) -> None:
        """Have an agent known by a name.

        `agent` is called with the task as its only argument: a callable or coroutine function, or an object's method
        `run` or `execute`; or it is a command as a list of arguments, in which `{task}` stands for the task.

        These hold for each run: `timeout` (seconds for each attempt), `memory_limit` (bytes, or text such as "2G", of
        the whole process tree), `retries` (further attempts at once) or `retry_policy`, `concurrency` (how many
        attempts may run at a time in this process; None: no limit), `grace` (seconds between being asked to stop and
        being killed or given up); for commands also `env` (variables on top of the present ones) and `cwd`.

        Raises TypeError or ValueError at once for what makes no sense, and for a name that is taken unless `replace`.
        """
        if not isinstance(name, str):
            raise TypeError(f"an agent's name must be text, not {name!r}")
        if not name.strip():
            raise ValueError("an agent's name must not be empty")
        terms = terms_of(
            name,
            limits=(timeout, memory_limit, grace),
            retries=(retries, retry_policy),
            concurrency=concurrency,
            env=env,
            cwd=cwd,
            description=description,
        )
        made = Agent(name, agent, terms)
        with _lock:
            if name in self._agents and not replace:
                raise ValueError(f"there is an agent {name!r} already: give this one another name, or replace=True")
            self._agents[name] = made

    @property
    def agents(self) -> dict[str, str]:
        """The agents' names and descriptions, in the order in which they came."""
        with _lock:
            known = dict(self._agents)
        return {name: agent.terms.description if agent else self._described(name) for name, agent in known.items()}

    def _described(self, name: str) -> str:
        assert self._config is not None
        return str(self._config.values["agents"][name].get("description", ""))

    def _agent(self, name: str) -> Agent:
        """Return an agent. Raises LookupError for an unknown one, ConfigError for one that cannot be made."""
        with _lock:
            if name not in self._agents:
                raise LookupError(f"there is no agent {cut(repr(name))}; {_instead(name, self._agents)}")
            agent = self._agents[name]
        if agent is not None:
            return agent
        made = self._made(name)
        with _lock:
            agent = self._agents[name] or made  # another thread may have been first, or `register`
            self._agents[name] = agent
            return agent

    def _made(self, name: str) -> Agent:
        """Make an agent of the config, executing its file if it is in one that was not executed yet."""
        assert self._config is not None
        python = self._config.values["agents"][name].get("python")
        if python is None:
            return configured_agent(name, self._config, self._files)
        file = python.rpartition(":")[0]
        outer = _executed.get()
        if (self, file) in outer:
            raise ConfigError(f"{python}: the file runs an agent of its own while it is loaded: do that in a function")
        with contextlib.nullcontext() if outer else _file_lock:
            token = _executed.set((*outer, (self, file)))
            try:
                return configured_agent(name, self._config, self._files)
            finally:
                _executed.reset(token)

    # Running them

    async def run_agent_task(self, agent_name: str, task: str) -> TaskResult:
        """Give an agent a task, as it is, and return what came of it.

        A failure of whatever kind is a result, an unknown agent too. The value is what was returned, or a command's
        ExecutionResult; `output` and `stderr` hold what was printed in a process of its own. Cancelled, it stops the
        agent first.

        Raises TypeError for what is no text, ConfigError for an agent of the config that cannot be made.
        """
        _check_text(agent_name, task)
        try:
            agent = self._agent(agent_name)
        except LookupError as error:
            return _failed(agent_name, error)
        if agent.names:
            wanted = ", ".join(map(repr, agent.names))
            why = f"agent {agent_name!r} wants the result of {wanted}: run it in a workflow, see as_task"
            return _failed(agent_name, ValueError(why))
        with _lock:
            self._running += 1
        try:
            return await _run(agent.task(agent_name, task))
        finally:
            self._has_ended()

    def as_task(self, agent: str, task: str, dependencies: Iterable[str] = (), *, name: str | None = None) -> Task:
        """Return a task of a workflow that gives an agent this task. It is named like the agent, unless by `name`.

        In the text, and in the agent's command, `{result of NAME}` stands for what the task NAME of the same workflow
        has come to, which must be one of the `dependencies`: what a command printed, or `str` of the value.

        Raises LookupError for an unknown agent, ValueError for the result of a task that is no dependency, TypeError
        for what is no text.
        """
        _check_text(agent, task)
        if isinstance(dependencies, (str, bytes)) or not isinstance(dependencies, Iterable):
            raise TypeError(f"dependencies must be a list or set of names of tasks, not {dependencies!r}")
        known = self._agent(agent)
        needs = list(dict.fromkeys(dependencies))
        names = tuple(dict.fromkeys((*names_in(task), *known.names)))
        for wanted in names:
            if wanted not in needs:
                where = "the task" if wanted in names_in(task) else "its command"
                hint = _instead(wanted, needs, "its dependencies are")
                raise ValueError(
                    f"agent {agent!r}: {where} wants the result of {wanted!r}, which is no dependency; {hint}"
                )
        return known.task(agent if name is None else name, task, names, needs)

    # The end

    def close(self) -> None:
        """Let go of the workers that are kept warm for agents with a limit of concurrency; running work ends first.

        It can be used again. The default one is forgotten: the next `default` reads the config anew.
        """
        global _default
        with _lock:
            if _default is self:
                _default = None
            known = [agent for agent in self._agents.values() if agent is not None]
        for agent in known:
            agent.close()

    def __enter__(self) -> AgentOrchestrator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_ended(self) -> None:
        """Count a run out. A task leaves no process behind: inside one, the last run lets the workers go."""
        with _lock:
            self._running -= 1
            if self._running or not settings.depth():
                return
            known = [agent for agent in self._agents.values() if agent is not None]
        for agent in known:
            agent.close()


def run_agent_task(agent_name: str, task: str) -> TaskResult:
    """Give an agent of `AgentOrchestrator.default()` a task, and return what came of it, as its method does.

    Where an event loop runs it may be called too: it then runs in a thread of its own, and blocks the loop until it has
    ended. Ctrl-C, or cancelling the asyncio task that called it, stops the agent first.

    Raises ConfigError for a mistake in the nearest config, TypeError for what is no text.
    """
    _check_text(agent_name, task)
    agents = AgentOrchestrator.default()
    return outside_of_a_loop(lambda: asyncio.run(agents.run_agent_task(agent_name, task)))


async def _run(task: Task) -> TaskResult:
    results = await Workflow(task.name, tasks=[task], timeout=math.inf).execute()
    result = results[task.name]
    if isinstance(task.action, InPlace) and task.action.last is not None:
        last = task.action.last
        result.execution_time, result.notes = last.execution_time, (*result.notes, *last.notes)
    return result


def _check_text(agent: object, task: object) -> None:
    if not isinstance(agent, str):
        raise TypeError(f"an agent is given by its name, which is text, not {agent!r}")
    if not isinstance(task, str):
        raise TypeError(f"a task for agent {agent!r} must be text, not {type(task).__name__}")


def _failed(name: str, error: Exception) -> TaskResult:
    """Return the result of a run that never began."""
    return TaskResult(False, None, str(error), 0.0, 0, name, Ending.RAISED, return_code=1, exception=error)


def _instead(name: str, known: Iterable[str], introduction: str = "registered are") -> str:
    names = sorted(known)
    near = closest(name, names)
    listed = f"{introduction}: {cut(', '.join(map(visible, names)), 400) or 'none'}"
    return f"did you mean {near!r}? {listed[0].upper()}{listed[1:]}" if near else listed


def _forget_inherited() -> None:
    global _lock, _file_lock
    _lock, _file_lock = threading.RLock(), threading.Lock()


os.register_at_fork(after_in_child=_forget_inherited)
