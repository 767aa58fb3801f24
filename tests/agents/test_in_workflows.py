"""Agents as tasks of a workflow: what earlier ones came to stands in the text and the command of later ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, Event, Started, Task, TaskResult, Workflow
from orchestrator.agents import AgentOrchestrator
from orchestrator.placeholders import RESULT_CHARACTERS, text_of
from tests import crimes
from tests.agents.acts import Unsendable, asked, command, shout, told


def run(*tasks: Task, **options: Any) -> dict[str, TaskResult]:
    return Workflow(tasks=tasks, **options).run()


@pytest.fixture
def agents(tmp_path: Path) -> AgentOrchestrator:
    async def reverse(task: str) -> str:
        return task[::-1]

    agents = AgentOrchestrator()
    agents.register("shout", shout)
    agents.register("reverse", reverse)
    agents.register("reverse one by one", reverse, concurrency=1)
    agents.register("shout one by one", shout, concurrency=1)
    agents.register("shout in a worker", shout, timeout=60)
    agents.register("tool", command(tmp_path, "{task}"))
    agents.register("printf", ["printf", "%s", "{task}"])
    agents.register("judge", command(tmp_path, "--first={result of first}", "--", "{task}", "{result of second}"))
    return agents


def test_a_chain_goes_through_agents_of_every_kind(agents: AgentOrchestrator) -> None:
    kinds = ["shout", "reverse", "reverse one by one", "shout one by one", "shout in a worker", "printf"]
    first = Task("start", lambda: "{start} ☃")
    tasks = [first]
    for kind in kinds:
        before = tasks[-1].name
        tasks.append(agents.as_task(kind, f"<{{result of {before}}}> {{task}} {{x}}", [before]))
    results = run(*tasks)
    assert results["shout"].value == "<{START} ☃> {TASK} {X}"
    assert results["reverse"].value == "<{START} ☃> {TASK} {X}".join(["<", "> {task} {x}"])[::-1]
    assert results["shout in a worker"].output.startswith("shouting <<")
    assert results["printf"].output == f"<{results['shout in a worker'].value}> {{task}} {{x}}"


def test_a_command_gets_results_in_their_places_as_single_arguments(agents: AgentOrchestrator) -> None:
    second = 'b "c" {task} {result of first} ; $(id)'
    results = run(
        Task("first", lambda: 17),
        agents.as_task("printf", second.replace("{result of first}", "{result of}"), name="second"),
        agents.as_task("judge", "judge {result of first}", {"first", "second"}),
    )
    heard = told(results["judge"])
    assert heard["args"] == ["--first=17", "--", "judge 17", second.replace("{result of first}", "{result of}")]
    assert heard["stdin"] == "judge 17"


def test_what_is_put_in_is_not_looked_through_again(agents: AgentOrchestrator) -> None:
    results = run(
        Task("secret", lambda: "s3cret"),
        Task("hostile", lambda: "{result of secret} {task}"),
        agents.as_task("tool", "{result of hostile}", ["secret", "hostile"]),
    )
    assert told(results["tool"])["args"] == ["{result of secret} {task}"]


def test_a_result_of_a_command_is_what_it_printed_without_the_line_ends(agents: AgentOrchestrator) -> None:
    agents.register("lines", ["printf", "one\\ntwo\\n\\n"])
    results = run(agents.as_task("lines", ""), agents.as_task("shout", "<{result of lines}>", ["lines"]))
    assert results["shout"].value == "<ONE\nTWO>"


def test_a_long_result_is_cut_in_its_middle(agents: AgentOrchestrator) -> None:
    agents.register("length", lambda task: (len(task), task[:5], task[-5:], "characters left out" in task))
    results = run(
        Task("long", lambda: "start" + "x" * 10_000_000 + "ended"),
        agents.as_task("length", "{result of long}", ["long"]),
    )
    length, head, tail, is_told = results["length"].value
    assert RESULT_CHARACTERS < length < RESULT_CHARACTERS + 100
    assert (head, tail, is_told) == ("start", "ended", True)
    assert text_of("x" * RESULT_CHARACTERS) == "x" * RESULT_CHARACTERS


@pytest.mark.parametrize("agent", ["shout", "shout one by one", "shout in a worker", "tool"])
def test_a_value_whose_text_cannot_be_had_fails_the_agent_that_wants_it(agents: AgentOrchestrator, agent: str) -> None:
    results = run(
        Task("mute", lambda: crimes.Mute("x")), agents.as_task(agent, "{result of mute}", ["mute"], name="wants")
    )
    assert results["wants"].ending is Ending.RAISED
    assert results["mute"].success


def test_what_fails_skips_the_agents_behind_it(agents: AgentOrchestrator) -> None:
    agents.register("broken", ["false"])
    agents.register("unsendable", Unsendable(), timeout=60)
    results = run(
        agents.as_task("broken", "x"),
        agents.as_task("shout", "{result of broken}", ["broken"]),
        agents.as_task("unsendable", "x"),
        agents.as_task("reverse", "x"),
    )
    assert [result.ending for result in results.values()] == [
        Ending.RAISED, Ending.SKIPPED, Ending.UNSENDABLE, Ending.OK
    ]  # fmt: skip
    assert "'broken' failed" in str(results["shout"].error)


def test_a_dependency_without_a_place_is_only_waited_for(agents: AgentOrchestrator) -> None:
    order: list[str] = []
    agents.register("note", order.append)
    run(agents.as_task("note", "second", ["first"], name="second"), agents.as_task("note", "first", name="first"))
    assert order == ["first", "second"]


def test_terms_of_the_agent_hold_in_a_workflow(agents: AgentOrchestrator) -> None:
    agents.register("slow", ["sleep", "600"], timeout=0.2, retries=1)
    assert agents.as_task("slow", "x").timeout == 0.2
    result = run(agents.as_task("slow", "x"))["slow"]
    assert (result.ending, result.attempts) == (Ending.TIMED_OUT, 2)


@pytest.mark.parametrize("agent", ["shout", "shout one by one", "reverse one by one", "shout in a worker", "tool"])
def test_a_task_can_be_changed_and_run_again(agents: AgentOrchestrator, agent: str) -> None:
    task = replace(agents.as_task(agent, "x"), condition=lambda _: True)
    flow = Workflow(tasks=[task], executor="process", max_workers=1)
    assert flow.run()[agent].success
    assert flow.run()[agent].success


def test_a_listener_hears_of_agents_as_of_any_task(agents: AgentOrchestrator) -> None:
    heard: list[Event] = []
    run(agents.as_task("tool", "x"), agents.as_task("reverse one by one", "x"), on_event=heard.append)
    assert {event.name for event in heard if isinstance(event, Started)} == {"tool", "reverse one by one"}


# Mistakes


def test_a_result_that_is_no_dependency_is_refused_with_the_closest(agents: AgentOrchestrator) -> None:
    with pytest.raises(ValueError, match=r"agent 'shout': the task wants the result of 'raed', .* did you mean 'read'"):
        agents.as_task("shout", "{result of raed}", ["read", "write"])
    with pytest.raises(ValueError, match="agent 'judge': its command wants the result of 'second'"):
        agents.as_task("judge", "x", ["first"])


def test_an_agent_whose_command_wants_results_fails_when_it_is_run_alone(agents: AgentOrchestrator) -> None:
    result = asked(agents, "judge", "x")
    assert (result.success, result.ending) == (False, Ending.RAISED)
    assert "wants the result of 'first', 'second': run it in a workflow" in str(result.error)


def test_an_unknown_agent_cannot_be_a_task(agents: AgentOrchestrator) -> None:
    with pytest.raises(LookupError, match="there is no agent 'shuot'; did you mean 'shout'"):
        agents.as_task("shuot", "x")


@pytest.mark.parametrize("dependencies", ["read", 5, [5]])
def test_dependencies_that_are_no_names_are_refused(agents: AgentOrchestrator, dependencies: Any) -> None:
    with pytest.raises(TypeError, match="dependencies"):
        agents.as_task("shout", "x", dependencies)
