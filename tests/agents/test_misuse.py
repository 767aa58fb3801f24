"""What makes no sense is refused at once, with the cure; an unknown agent is a result."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from orchestrator import Ending, RetryPolicy
from orchestrator.agents import AgentOrchestrator, run_agent_task
from tests.agents.acts import Writer, asked, shout


async def a_coroutine(task: str) -> str:
    return task


def a_generator(task: str) -> Any:
    yield task


@pytest.mark.parametrize(
    ("agent", "error", "words"),
    [
        ("mytool {task}", TypeError, "must be a list of arguments, which no shell sees"),
        (b"mytool", TypeError, "must be a list of arguments"),
        (None, TypeError, "must be callable, have a method run or execute, or be a command"),
        (17, TypeError, "must be callable"),
        ({"run": shout}, TypeError, "must be callable"),
        (Writer, TypeError, r"is a class: give an object of it, such as Writer\(\)"),
        (a_generator, TypeError, "generator function"),
        ([], ValueError, "must name a program first"),
        ([""], ValueError, "must name a program first"),
        (["mytool", None], TypeError, "an argument of a program must be text"),
        (["mytool", "a\0b"], ValueError, "cannot hold a NUL"),
    ],
)
def test_what_is_no_agent_is_refused(agent: Any, error: type[Exception], words: str) -> None:
    agents = AgentOrchestrator()
    with pytest.raises(error, match=rf"agent 'a'.*{words}"):
        agents.register("a", agent)
    assert agents.agents == {}


def test_a_coroutine_instead_of_its_function_is_refused_and_closed() -> None:
    with pytest.raises(TypeError, match="is a coroutine: give the function that makes it"):
        AgentOrchestrator().register("a", a_coroutine("x"))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"timeout": 0}, "timeout must be more than zero"),
        ({"timeout": "5"}, "timeout must be a number of seconds"),
        ({"memory_limit": "2X"}, "not an amount of memory"),
        ({"retries": -1}, "retries must be zero or more"),
        ({"retries": 1, "retry_policy": RetryPolicy()}, "either retries or retry_policy"),
        ({"retry_policy": 3}, "must be a RetryPolicy"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"concurrency": True}, "concurrency must be a whole number"),
        ({"grace": -1}, "grace must be zero or more"),
        ({"description": 5}, "description must be text"),
        ({"env": {"A": "1"}}, "env and cwd are for commands"),
        ({"cwd": "/"}, "env and cwd are for commands"),
        ({"env": {"SECRET": b"s3cret"}}, "the variable 'SECRET' must be text, not bytes$"),
        ({"env": "A=s3cret"}, "env must be a dict of variables, not str$"),
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^agent 'a': .*{words}"):
        AgentOrchestrator().register("a", shout, **terms)


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), ("  ", ValueError), (None, TypeError), (b"a", TypeError)]
)
def test_a_name_is_text_that_is_not_empty(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="an agent's name must"):
        AgentOrchestrator().register(name, shout)


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced() -> None:
    agents = AgentOrchestrator()
    agents.register("a", shout, description="the first")
    with pytest.raises(ValueError, match="there is an agent 'a' already"):
        agents.register("a", str.lower)
    assert asked(agents, "a", "Hi").value == "HI"
    agents.register("a", str.lower, replace=True, description="the second")
    assert asked(agents, "a", "Hi").value == "hi"
    assert agents.agents == {"a": "the second"}


@pytest.mark.parametrize("task", [None, 5, b"text", ["a"]])
def test_a_task_that_is_no_text_is_refused(task: Any) -> None:
    agents = AgentOrchestrator()
    agents.register("a", shout)
    for call in (
        lambda: asked(agents, "a", task),
        lambda: agents.as_task("a", task),
        lambda: run_agent_task("a", task),
    ):
        with pytest.raises(TypeError, match="a task for agent 'a' must be text"):
            call()
    with pytest.raises(TypeError, match="an agent is given by its name"):
        asked(agents, task, "x")


def test_an_unknown_agent_is_a_failed_result_that_names_those_there_are() -> None:
    agents = AgentOrchestrator()
    result = asked(agents, "writer", "x")
    assert (result.success, result.ending, result.name, result.attempts) == (False, Ending.RAISED, "writer", 0)
    assert result.error == "there is no agent 'writer'; registered are: none"
    agents.register("writer", shout)
    agents.register("editor\x1b[31m", shout)
    error = asked(agents, "writre", "x").error
    assert error == "there is no agent 'writre'; did you mean 'writer'? Registered are: editor\\x1b[31m, writer"
    assert len(str(asked(agents, "z" * 100_000, "x").error)) < 500
    with pytest.raises(LookupError):
        asked(agents, "writre", "x").unwrap()


def test_agents_are_registered_by_many_threads_at_once() -> None:
    agents = AgentOrchestrator()
    taken: list[int] = []

    def register(number: int) -> None:
        try:
            agents.register("a", lambda _: number)
        except ValueError:
            return
        taken.append(number)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [asked(agents, "a", "x").value] == taken


def test_an_object_that_is_callable_is_called_and_run_comes_before_execute() -> None:
    class Both(Writer):
        def execute(self, task: str) -> str:
            raise AssertionError(task)

    class All(Both):
        def __call__(self, task: str) -> str:
            return f"called: {task}"

    agents = AgentOrchestrator()
    agents.register("both", Both("run"))
    agents.register("all", All("run"))
    assert asyncio.run(agents.run_agent_task("both", "x")).value == "run: x"
    assert asked(agents, "all", "x").value == "called: x"
