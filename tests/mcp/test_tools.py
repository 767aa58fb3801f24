"""What the tools take and return, called by the SDK's client in this process."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError

from orchestrator.mcp_tools.server import INSTRUCTIONS
from tests.mcp.agent import Agent, settings, with_agent, write_scripts


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_tool_says_what_it_takes_what_it_returns_and_what_it_may_do(
    tmp_path: Path, mode: Literal["auto", "legacy"]
) -> None:
    async def work(agent: Agent) -> None:
        tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        assert sorted(tools) == [
            "analyze_workflow_dependencies",
            "cancel_run",
            "discover_scripts",
            "get_output",
            "get_run",
            "get_scheduler_metrics",
            "run_pipeline",
            "start_batch",
        ]
        for tool in tools.values():
            assert tool.description
            assert tool.input_schema["additionalProperties"] is False
            assert tool.output_schema is not None
            for schema in (tool.input_schema, tool.output_schema, *tool.output_schema.get("$defs", {}).values()):
                undescribed = [n for n, field in schema.get("properties", {}).items() if not field.get("description")]
                assert not undescribed, f"{tool.name}: {undescribed}"
        hints = {name: tool.annotations for name, tool in tools.items()}
        reads = {name for name, hint in hints.items() if hint is not None and hint.read_only_hint}
        assert reads == tools.keys() - {"start_batch", "run_pipeline", "cancel_run"}
        assert {name for name, hint in hints.items() if hint is not None and hint.idempotent_hint} == {"cancel_run"}
        assert all(hint is not None and (hint.read_only_hint or hint.destructive_hint) for hint in hints.values())
        assert agent.client.instructions == INSTRUCTIONS

    with_agent(tmp_path, work, mode=mode)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_batch_tells_of_each_task_and_gives_its_output(tmp_path: Path, mode: Literal["auto", "legacy"]) -> None:
    write_scripts(
        tmp_path,
        good="import os, sys; print(sys.argv[1:], os.getcwd())",
        bad="import sys; print('oh dear', file=sys.stderr); sys.exit(3)",
    )

    async def work(agent: Agent) -> None:
        begun = await agent.call("start_batch", scripts=[["good.py", "own"], "bad.py", "none.py"], args=["all"])
        report = await agent.ended(begun["run_id"])
        assert (report["state"], report["total"]) == ("failed", 3)
        assert report["counts"] == {"ok": 1, "raised": 2}
        good, bad, none = report["tasks"]
        assert (good["name"], good["ending"], good["return_code"], good["attempts"]) == ("good.py own", "ok", 0, 1)
        assert good["seconds"] > 0 and good["cpu_seconds"] > 0 and good["peak_memory_bytes"] > 1 << 20
        assert (bad["ending"], bad["return_code"], bad["stderr_bytes"]) == ("raised", 3, 8)
        assert (none["return_code"], "there is no such file" in none["reason"]) == (127, True)
        assert await agent.output(begun["run_id"]) == f"['own', 'all'] {tmp_path}\n"
        assert await agent.output(begun["run_id"], 1, "stderr") == "oh dear\n"
        failed = await agent.call("get_run", run_id=begun["run_id"], which="failed", limit=1)
        assert [task["task"] for task in failed["tasks"]] == [1]
        rest = await agent.call("get_run", run_id=begun["run_id"], which="failed", offset=failed["next_offset"])
        assert ([task["task"] for task in rest["tasks"]], rest["next_offset"]) == ([2], None)

    with_agent(tmp_path, work, mode=mode)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("start_batch", {}, "start_batch: the argument 'scripts' is missing"),
        ("start_batch", {"scripts": []}, "scripts: List should have at least 1 item"),
        ("start_batch", {"scripts": "a.py"}, "scripts: Input should be a valid list, not 'a.py'"),
        ("start_batch", {"scripts": [[]]}, "scripts.0: List should have at least 1 item"),
        ("start_batch", {"scripts": [["a.py", 1]]}, "scripts.0.1: Input should be a valid string, not 1"),
        ("start_batch", {"scripts": ["a.py"] * 10_001}, "scripts: List should have at most 10000 items"),
        ("start_batch", {"scripts": ["a.py"], "job": 1}, "there is no argument 'job'; did you mean 'jobs'?"),
        ("start_batch", {"scripts": ["a.py"], "jobs": "2"}, "jobs: Input should be a valid integer, not '2'"),
        ("start_batch", {"scripts": ["a.py"], "jobs": 0}, "jobs: Input should be greater than or equal to 1, not 0"),
        ("start_batch", {"scripts": ["a.py"], "fail_fast": 1}, "fail_fast: Input should be a valid boolean"),
        ("start_batch", {"scripts": ["a.py"], "timeout_seconds": 0}, "timeout_seconds: Input should be greater than 0"),
        ("start_batch", {"scripts": ["a.py"], "memory": "lots"}, "memory: 'lots' is not an amount of memory"),
        ("start_batch", {"scripts": ["a.py"], "memory": -1}, "memory: memory must be more than zero bytes, not -1"),
        ("start_batch", {"scripts": ["a.py"], "env": {"A": "secret"}}, "there is no argument 'env'"),
        ("get_output", {"run_id": "x", "task": 0, "stream": "log"}, "stream: Input should be 'stdout' or 'stderr'"),
        ("get_run", {"run_id": "nope"}, "there is no run 'nope'; known here: none"),
        ("get_run", {"run_id": "x", "limit": 10**6}, "limit: Input should be less than or equal to 1000"),
        ("analyze_workflow_dependencies", {"tasks": [{"depends_on": []}]}, "the argument 'tasks.0.id' is missing"),
        ("analyze_workflow_dependencies", {"tasks": [{"id": "a"}, {"id": "a"}]}, "there is a task 'a' already"),
        ("analyze_workflow_dependencies", {"tasks": [{"id": "a", "depends_on": ["z"]}]}, "z"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_their_names(
    tmp_path: Path, tool: str, arguments: dict[str, Any], says: str
) -> None:
    write_scripts(tmp_path, a="print('ran')")
    refusal = with_agent(tmp_path, lambda agent: agent.refusal(tool, **arguments))
    assert says in refusal
    assert "http" not in refusal


def test_a_tool_that_is_none_is_an_error_of_the_protocol(tmp_path: Path) -> None:
    async def work(agent: Agent) -> None:
        with pytest.raises(MCPError, match="there is no tool 'start_bach'; did you mean 'start_batch'"):
            await agent.call("start_bach")

    with_agent(tmp_path, work)


def test_scripts_are_listed_with_what_they_need_and_without_what_is_elsewhere_or_secret(tmp_path: Path) -> None:
    wanted = settings("timeout = 9\ndepends_on = ['inside.py']\nenv = {TOKEN = 'hush'}")
    (tmp_path / "inner").mkdir()
    write_scripts(tmp_path, inside="print(1)")
    write_scripts(tmp_path / "inner", later=f'{wanted}"""Come after."""\n', wrong=settings("x = 1"))
    (tmp_path / "elsewhere.py").symlink_to(__file__)

    async def work(agent: Agent) -> None:
        found = await agent.call("discover_scripts")
        assert [script["path"] for script in found["scripts"]] == ["inner/later.py", "inner/wrong.py", "inside.py"]
        later, wrong, _ = found["scripts"]
        assert (later["description"], later["timeout_seconds"], later["variables"]) == ("Come after.", 9, ["TOKEN"])
        assert "x" in wrong["problem"]
        assert "hush" not in str(found)
        assert "elsewhere" not in str(found)
        page = await agent.call("discover_scripts", folder="inner", offset=0, limit=1)
        assert (page["folder"], page["total"], page["next_offset"]) == ("inner", 2, 1)

    with_agent(tmp_path, work)


def test_what_depends_on_others_comes_after_them_and_a_circle_is_told_with_its_path(tmp_path: Path) -> None:
    def needing(name: str) -> str:
        return f"{settings(f'depends_on = [{name!r}]')}open('log', 'a').write(__file__[-4])\n"

    write_scripts(tmp_path, a="open('log', 'a').write('a')", b=needing("a.py"), c=needing("d.py"), d=needing("c.py"))

    async def work(agent: Agent) -> None:
        assert (await agent.run("b.py", "a.py"))["state"] == "finished"
        assert (tmp_path / "log").read_text() == "ab"
        assert "c.py -> d.py -> c.py" in await agent.refusal("start_batch", scripts=["c.py", "d.py"])
        assert "b.py depends on a.py, which is not among" in await agent.refusal("start_batch", scripts=["b.py"])

    with_agent(tmp_path, work)


def test_the_analysis_gives_an_order_or_the_path_of_a_circle(tmp_path: Path) -> None:
    async def work(agent: Agent) -> None:
        tasks = [{"id": "test", "depends_on": ["build"]}, {"id": "build"}]
        answer = await agent.call("analyze_workflow_dependencies", tasks=tasks)
        assert answer == {"execution_order": ["build", "test"], "parallel_groups": [["build"], ["test"]]}
        circle = [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["c"]}, {"id": "c", "depends_on": ["a"]}]
        refusal = await agent.refusal("analyze_workflow_dependencies", tasks=circle)
        assert re.search("a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c", refusal)
        metrics = await agent.call("get_scheduler_metrics")
        assert set(metrics) == {
            "active_jobs",
            "queued_jobs",
            "completed_jobs",
            "failed_jobs",
            "throughput_per_second",
        }

    with_agent(tmp_path, work)


def test_scripts_run_under_the_servers_python_in_the_folder_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write_scripts(tmp_path, where="import os, sys; print(sys.executable, os.getcwd())")

    async def work(agent: Agent) -> None:
        report = await agent.run("where.py", cwd="inner")
        assert await agent.output(report["run_id"]) == f"{sys.executable} {tmp_path / 'inner'}\n"

    with_agent(tmp_path, work)
