"""Pipelines that an agent runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from orchestrator.mcp_tools.ceilings import Ceilings
from tests.mcp.agent import FAMILY, Agent, pids_in, with_agent, write_scripts
from tests.waiting import is_alive


@pytest.fixture(autouse=True)
def _own_meeting_place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs of a concurrency group meet in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("runtime")))


def test_a_pipeline_runs_stage_by_stage(tmp_path: Path) -> None:
    text = """
name: demo
stages:
  - name: build
    commands: ["echo built"]
  - name: test
    commands: ["echo tested"]
"""
    (tmp_path / "pipeline.yaml").write_text(text)
    (tmp_path / "broken.yaml").write_text("name: [demo\n")

    async def work(agent: Agent) -> None:
        begun = await agent.call("run_pipeline", path="pipeline.yaml")
        assert (begun["tasks"], begun["warnings"]) == (2, [])
        report = await agent.ended(begun["run_id"])
        assert (report["name"], report["state"], report["counts"]) == ("demo", "finished", {"ok": 2})
        assert [task["name"] for task in report["tasks"]] == ["build", "test"]
        assert await agent.output(begun["run_id"], 1) == "tested\n"
        assert "broken.yaml" in await agent.refusal("run_pipeline", path="broken.yaml")
        assert "there is no file none.yaml" in await agent.refusal("run_pipeline", path="none.yaml")

    with_agent(tmp_path, work)


def test_a_workflow_of_github_runs_with_its_warnings_and_is_cancelled_whole(tmp_path: Path) -> None:
    write_scripts(tmp_path, family=FAMILY)
    (tmp_path / "ci.yml").write_text(f"""
on: push
concurrency: mine
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/setup-python@v5
      - run: "'{sys.executable}' family.py pids"
      - run: touch never
        if: always()
  test:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - run: touch never
""")

    async def work(agent: Agent) -> None:
        begun = await agent.call("run_pipeline", path="ci.yml", jobs=1)
        assert any("setup-python" in warning for warning in begun["warnings"])
        pids = await pids_in(tmp_path / "pids")
        answer = await agent.call("cancel_run", run_id=begun["run_id"])
        assert answer["state"] == "cancelled"
        assert not any(is_alive(pid) for pid in pids)
        assert not (tmp_path / "never").exists()

    with_agent(tmp_path, work)


def test_a_pipeline_that_waits_for_its_turn_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "ci.yml").write_text("""
on: push
concurrency: mine
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: touch "$RUNNER_NAME-began-$$"; touch began; sleep 600
""")

    async def work(agent: Agent) -> None:
        first = (await agent.call("run_pipeline", path="ci.yml"))["run_id"]
        async with asyncio.timeout(30):
            while not (tmp_path / "began").exists():
                await asyncio.sleep(0.01)
        second = (await agent.call("run_pipeline", path="ci.yml"))["run_id"]
        assert (await agent.call("get_run", run_id=second))["counts"] == {"waiting": 1}
        assert (await agent.call("cancel_run", run_id=second))["counts"] == {"skipped": 1}
        assert (await agent.call("get_run", run_id=first))["counts"] == {"running": 1}

    with_agent(tmp_path, work)


@pytest.mark.parametrize("form", ["stages", "jobs"])
def test_stages_and_jobs_keep_to_the_ceilings_of_the_server(tmp_path: Path, form: str) -> None:
    text = {
        "stages": "stages: [{name: a, commands: ['echo begun; sleep 600'], timeout: 1h}]",
        "jobs": "on: push\njobs: {a: {runs-on: x, timeout-minutes: 60, steps: [{run: 'echo begun; sleep 600'}]}}",
    }[form]
    (tmp_path / "pipeline.yaml").write_text(text)

    async def work(agent: Agent) -> None:
        run = (await agent.call("run_pipeline", path="pipeline.yaml"))["run_id"]
        report = await agent.call("get_run", run_id=run, wait_seconds=30)
        assert (report["state"], report["counts"]) == ("failed", {"timed out": 1})

    with_agent(tmp_path, work, Ceilings(seconds=1))


def test_a_stage_that_its_own_condition_skips_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ci.yml").write_text("on: push\njobs: {a: {if: failure(), runs-on: x, steps: [{run: ls}]}}")

    async def work(agent: Agent) -> None:
        run = (await agent.call("run_pipeline", path="sub/ci.yml"))["run_id"]
        report = await agent.call("get_run", run_id=run, wait_seconds=30)
        assert (report["state"], report["counts"]) == ("finished", {"skipped": 1})
        assert (await agent.call("get_run", run_id=run, which="failed"))["tasks"] == []

    with_agent(tmp_path, work)
