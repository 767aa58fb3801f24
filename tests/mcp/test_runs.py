"""Runs under way: side by side, cancelled, failed, forgotten, and as long as their client is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator import Task, Workflow, shell
from orchestrator.mcp_tools.ceilings import Ceilings
from orchestrator.mcp_tools.refusals import Refused
from orchestrator.mcp_tools.shelf import Shelf
from tests.mcp.agent import FAMILY, Agent, pids_in, with_agent, write_scripts
from tests.waiting import is_alive, wait_gone


def test_two_runs_go_on_side_by_side_and_no_more_than_allowed(tmp_path: Path) -> None:
    wait = """
import os, sys, time
open(sys.argv[1], "w").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
"""
    write_scripts(tmp_path, wait=wait)

    async def work(agent: Agent) -> None:
        first = await agent.batch(["wait.py", "one", "two"], "wait.py", jobs=1)
        second = await agent.batch(["wait.py", "two", "one"], jobs=1)
        refusal = await agent.refusal("start_batch", scripts=["wait.py"])
        assert "2 runs are under way" in refusal and first in refusal and "allows 2 at a time" in refusal
        assert (await agent.ended(second))["state"] == "finished"
        await agent.ended(first)
        assert (await agent.run(["wait.py", "a", "one"]))["state"] == "finished"

    with_agent(tmp_path, work, Ceilings(jobs=2, runs=2))


def test_a_cancelled_run_leaves_no_process_and_stays_cancelled(tmp_path: Path) -> None:
    write_scripts(tmp_path, family=FAMILY)

    async def work(agent: Agent) -> None:
        run_id = await agent.batch(["family.py", "pids"], *["family.py"] * 5, jobs=1)
        pids = await pids_in(tmp_path / "pids")
        answer = await agent.call("cancel_run", run_id=run_id)
        assert not any(is_alive(pid) for pid in pids)
        assert answer["state"] == "cancelled"
        assert answer["counts"] == {"cancelled": 1, "skipped": 5}
        assert await agent.call("cancel_run", run_id=run_id) == answer
        report = await agent.call("get_run", run_id=run_id)
        assert (report["state"], report["problem"]) == ("cancelled", "the run was cancelled")
        assert await agent.output(run_id) == "begun\n"

    with_agent(tmp_path, work)


def test_a_run_that_has_ended_is_not_changed_by_being_cancelled(tmp_path: Path) -> None:
    write_scripts(tmp_path, a="print(1)")

    async def work(agent: Agent) -> None:
        report = await agent.run("a.py")
        answer = await agent.call("cancel_run", run_id=report["run_id"])
        assert (answer["state"], answer["counts"]) == ("finished", {"ok": 1})

    with_agent(tmp_path, work)


def test_the_runs_of_a_client_that_leaves_are_stopped(tmp_path: Path) -> None:
    write_scripts(tmp_path, family=FAMILY)

    async def work(agent: Agent) -> list[int]:
        await agent.batch(["family.py", "pids"])
        return await pids_in(tmp_path / "pids")

    for pid in with_agent(tmp_path, work, mode="legacy"):
        wait_gone(pid, 5)


def test_a_failed_script_is_run_again_and_fail_fast_ends_the_run(tmp_path: Path) -> None:
    again = "import os, sys\nn = len(os.listdir('tries'))\nopen(f'tries/{n}', 'w').close()\nprint(n)\nsys.exit(n < 2)\n"
    write_scripts(tmp_path, again=again, bad="raise SystemExit(1)", stays="import time; time.sleep(600)")
    (tmp_path / "tries").mkdir()

    async def work(agent: Agent) -> None:
        report = await agent.run("again.py", retries=5)
        assert (report["state"], report["tasks"][0]["attempts"]) == ("finished", 3)
        assert await agent.output(report["run_id"]) == "2\n"
        report = await agent.run("stays.py", "bad.py", "stays.py", fail_fast=True)
        assert report["state"] == "failed" and "stopped at the first failure" in report["problem"]
        assert report["tasks"][1]["ending"] == "raised"
        assert {task["ending"] for task in report["tasks"]} <= {"raised", "cancelled", "skipped"}

    with_agent(tmp_path, work)


def test_ten_thousand_scripts_in_one_batch_leave_the_server_responsive(tmp_path: Path) -> None:
    write_scripts(tmp_path, one="import time; time.sleep(600)")

    async def work(agent: Agent) -> None:
        begun = await agent.call("start_batch", scripts=["one.py"] * 10_000)
        assert begun["tasks"] == 10_000
        page = await agent.call("get_run", run_id=begun["run_id"], offset=9_900, limit=1000)
        assert (len(page["tasks"]), page["next_offset"], page["state"]) == (100, None, "running")
        assert page["tasks"][-1]["name"] == "one.py (9999)"
        answer = await agent.call("cancel_run", run_id=begun["run_id"])
        assert sum(answer["counts"].values()) == 10_000

    with_agent(tmp_path, work)


def test_the_oldest_runs_are_forgotten_and_that_is_said() -> None:
    async def main() -> None:
        shelf = Shelf(2, most_runs=2)
        runs = []
        for _ in range(4):
            runs.append(shelf.begin("batch", Workflow(tasks=[Task("a", int)])))
            await runs[-1].over()
        assert [shelf.find(run.id) for run in runs[2:]] == runs[2:]
        for run in runs[:2]:
            with pytest.raises(Refused, match=f"{run.id}' is forgotten: the last 2 runs are kept"):
                shelf.find(run.id)
        with pytest.raises(Refused, match=f"there is no run 'x'; known here: {runs[2].id}, {runs[3].id}"):
            shelf.find("x")

    asyncio.run(main())


def test_runs_that_keep_too_much_are_forgotten_but_for_the_last_one() -> None:
    async def main() -> None:
        shelf = Shelf(1, most_bytes=1000)
        runs = []
        for _ in range(3):
            loud = Task("loud", shell("head -c 2000 /dev/zero"))
            runs.append(shelf.begin("batch", Workflow(tasks=[loud])))
            await runs[-1].over()
            assert runs[-1].kept_bytes == 2000
        assert shelf.find(runs[2].id) is runs[2]
        with pytest.raises(Refused, match="is forgotten"):
            shelf.find(runs[1].id)

    asyncio.run(main())


def test_a_run_that_cannot_go_on_says_why_and_no_task_is_left_open() -> None:
    async def main() -> None:
        shelf = Shelf(1)
        slow = [Task(name, shell("sleep 600")) for name in "ab"]
        run = shelf.begin("batch", Workflow(tasks=slow, timeout=0.2, max_concurrency=1))
        await run.over()
        assert (run.state, run.problem) == ("failed", "the workflow's deadline passed (0.2 s)")
        assert run.counts() == {"cancelled": 1, "skipped": 1}
        stopped = shelf.begin("batch", Workflow(tasks=[Task("a", int)]))
        stopped.stop()  # before it has begun
        await stopped.over()
        assert (stopped.state, stopped.counts()) == ("cancelled", {"skipped": 1})
        await shelf.close()
        with pytest.raises(Refused, match="0 runs are under way"):
            shelf.begin("batch", Workflow())

    asyncio.run(main())
