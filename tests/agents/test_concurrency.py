"""At most so many runs of an agent at a time in this process, whoever starts them; and who waits loses nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConcurrencyError, Ending, TaskResult, Workflow
from orchestrator.agents import AgentOrchestrator
from tests import crimes
from tests.agents.acts import Crowd, asked, command, tool
from tests.waiting import eventually, lines_of

CROWD = """
touch "$1/in-$$"
sleep 0.02
ls "$1" | grep -c in-
rm "$1/in-$$"
"""
"""A shell script that tells how many of it there are."""


def crowding(crowd: Crowd) -> dict[str, Callable[[str], Any]]:
    """Return agents of both kinds that share this process."""

    async def in_loop(task: str) -> str:
        with crowd:
            await asyncio.sleep(0.002)
        return task

    def in_thread(task: str) -> str:
        with crowd:
            threading.Event().wait(0.002)
        return task

    return {"loop": in_loop, "thread": in_thread}


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_two_hundred_tasks_go_through_two_places(kind: str) -> None:
    crowd = Crowd()
    agents = AgentOrchestrator()
    agents.register("a", crowding(crowd)[kind], concurrency=2)

    async def main() -> list[TaskResult]:
        return await asyncio.gather(*(agents.run_agent_task("a", str(number)) for number in range(200)))

    assert [result.value for result in asyncio.run(main())] == [str(number) for number in range(200)]
    assert (crowd.entered, crowd.most, crowd.inside) == (200, 2, 0)


def test_two_hundred_runs_of_a_tool_go_through_two_places(tmp_path: Path) -> None:
    (tmp_path / "crowd").mkdir()
    with AgentOrchestrator() as agents:
        agents.register("a", ["sh", tool(tmp_path, CROWD), "{task}"], concurrency=2)

        async def main() -> list[TaskResult]:
            return await asyncio.gather(*(agents.run_agent_task("a", str(tmp_path / "crowd")) for _ in range(200)))

        counts = [int(result.output) for result in asyncio.run(main())]
    assert len(counts) == 200
    assert max(counts) == 2


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_the_places_are_for_all_threads_loops_and_workflows_together(kind: str) -> None:
    crowd = Crowd()
    agents = AgentOrchestrator()
    agents.register("a", crowding(crowd)[kind], concurrency=3)

    def flow(number: int) -> bool:
        tasks = [agents.as_task("a", f"{number}.{index}", name=str(index)) for index in range(10)]
        return all(result.success for result in Workflow(tasks=tasks).run().values())

    def single(number: int) -> bool:
        return all(asked(agents, "a", f"{number}.{index}").success for index in range(10))

    with ThreadPoolExecutor(8) as threads:
        ends = [threads.submit(flow if number % 2 else single, number) for number in range(8)]
        assert all(end.result() for end in ends)
    assert (crowd.entered, crowd.most) == (80, 3)


def test_agents_in_workers_have_as_many_at_a_time_as_they_may(tmp_path: Path) -> None:
    with AgentOrchestrator() as agents:
        agents.register("a", lambda path: crimes.write_line(path, str(os.getpid())), timeout=60, concurrency=2)

        async def main() -> list[TaskResult]:
            return await asyncio.gather(*(agents.run_agent_task("a", str(tmp_path / "log")) for _ in range(40)))

        assert all(result.success for result in asyncio.run(main()))
    lines = lines_of(tmp_path / "log")
    assert len(lines) == 40
    assert len(set(lines)) <= 2


@pytest.mark.parametrize("where", ["loop", "thread", "process", "command"])
def test_waiting_for_a_place_is_not_counted_against_the_timeout(where: str, tmp_path: Path) -> None:
    async def in_loop(_: str) -> None:
        await asyncio.sleep(0.4)

    agent: dict[str, Any] = {
        "loop": in_loop,
        "thread": lambda _: threading.Event().wait(0.4),
        "process": lambda _: crimes.sleep_and_return(0.4, None),
        "command": ["sleep", "0.4"],
    }
    with AgentOrchestrator() as agents:
        timeout = None if where == "thread" else 1.5
        agents.register("a", agent[where], timeout=timeout, concurrency=1)

        async def main() -> list[TaskResult]:
            return await asyncio.gather(*(agents.run_agent_task("a", "x") for _ in range(6)))

        results = asyncio.run(main())
    assert [result.ending for result in results] == [Ending.OK] * 6
    assert max(result.execution_time for result in results) < 1.5


@pytest.mark.parametrize("workflow", [False, True])
def test_who_is_cancelled_while_waiting_gives_the_place_back(workflow: bool) -> None:
    async def main() -> None:
        gate, ran = asyncio.Event(), []

        async def wait(task: str) -> None:
            ran.append(task)
            await gate.wait()

        agents = AgentOrchestrator()
        agents.register("a", wait, concurrency=1)

        def start(task: str) -> asyncio.Future[Any]:
            run: Any = agents.run_agent_task("a", task)
            if workflow:
                run.close()
                run = Workflow(tasks=[agents.as_task("a", task)]).execute()
            return asyncio.get_running_loop().create_task(run)

        first, second, third, fourth = (start(name) for name in ("first", "second", "third", "fourth"))
        while not ran:
            await asyncio.sleep(0)
        for run in (second, third):
            run.cancel()
        await asyncio.wait([second, third])
        assert second.cancelled()
        assert third.cancelled()
        for _ in range(50):
            await asyncio.sleep(0)
        assert ran == ["first"]
        gate.set()
        await asyncio.gather(first, fourth)
        assert ran == ["first", "fourth"]
        assert (await agents.run_agent_task("a", "fifth")).success

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_place_that_was_handed_to_one_who_is_cancelled_goes_to_the_next() -> None:
    async def main() -> None:
        ran: list[str] = []

        async def work(task: str) -> None:
            ran.append(task)

        agents = AgentOrchestrator()
        agents.register("a", work, concurrency=1)
        for _ in range(50):
            runs = [asyncio.ensure_future(agents.run_agent_task("a", str(number))) for number in range(4)]
            for turn in range(len(ran) % 7 + 1):
                await asyncio.sleep(0)
                runs[turn % 3].cancel()
            await asyncio.wait(runs)
            assert (await runs[3]).success

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_loop_that_is_closed_over_those_who_wait_and_have_a_place_costs_no_place() -> None:
    agents = AgentOrchestrator()

    async def work(task: str) -> str:
        if task == "stay":
            await asyncio.sleep(600)
        return task

    agents.register("a", work, concurrency=1)
    loop = asyncio.new_event_loop()
    runs = [loop.create_task(agents.run_agent_task("a", "stay")) for _ in range(3)]
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.set_exception_handler(lambda *_: None)
    loop.close()
    del runs
    gc.collect()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asked, agents, "a", "go").result(30).value == "go"


@pytest.mark.parametrize("through", ["itself", "another"])
def test_an_agent_that_would_wait_for_itself_is_told_so(through: str) -> None:
    agents = AgentOrchestrator()

    async def again(task: str) -> Any:
        return (await agents.run_agent_task("a" if through == "itself" else "b", task)).unwrap()

    def back(task: str) -> Any:
        return asked(agents, "a", task).unwrap()

    agents.register("a", again, concurrency=1)
    agents.register("b", back, concurrency=1)
    result = asked(agents, "a", "x")
    assert isinstance(result.exception, ConcurrencyError)
    assert "was run from inside a run of its own" in str(result.error)


def test_an_agent_without_a_limit_may_run_itself() -> None:
    agents = AgentOrchestrator()

    async def count(task: str) -> int:
        return 0 if not task else 1 + (await agents.run_agent_task("count", task[1:])).unwrap()

    agents.register("count", count)
    assert asked(agents, "count", "xxx").value == 3


@pytest.mark.parametrize("kind", ["loop", "command"])
def test_a_forked_copy_of_the_process_has_places_of_its_own(kind: str) -> None:
    agents = AgentOrchestrator()

    async def fork(task: str) -> int:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                with ThreadPoolExecutor(1) as thread:  # for the loop that runs here was forked too
                    code = 0 if thread.submit(asked, agents, "inner", task).result(30).success else 2
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    async def inner(task: str) -> str:
        return task

    agents.register("inner", inner if kind == "loop" else ["true"], concurrency=1)
    assert asked(agents, "inner", "x").success
    agents.register("outer", fork, concurrency=1)
    result = asked(agents, "outer", "x")
    assert (result.error, result.value) == (None, 0)
    agents.close()


def test_the_workers_of_an_agent_can_be_let_go_and_come_again() -> None:
    agents = AgentOrchestrator()
    agents.register("a", crimes.echo, timeout=60, concurrency=1)
    task = agents.as_task("a", "x")
    assert asked(agents, "a", "x").success
    agents.close()
    assert Workflow(tasks=[task]).run()["a"].success
    agents.close()


def test_an_agent_with_places_that_is_run_inside_a_task_leaves_nothing_there() -> None:
    def outer(task: str) -> Any:
        inner = AgentOrchestrator()
        inner.register("a", crimes.echo, timeout=60, concurrency=1)
        return asked(inner, "a", task).unwrap()

    agents = AgentOrchestrator()
    agents.register("outer", outer, timeout=60)
    result = asked(agents, "outer", "x")
    assert (result.value, result.stderr) == ("x", "")


def test_a_killed_run_of_a_tool_gives_its_place_back(tmp_path: Path) -> None:
    async def main() -> None:
        with AgentOrchestrator() as agents:
            text = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600 if 'slow' in sys.argv[1] else 0)"
            agents.register("a", command(tmp_path, "{task}", text=text), concurrency=1)
            run = asyncio.ensure_future(agents.run_agent_task("a", str(tmp_path / "slow")))
            waiting = asyncio.ensure_future(agents.run_agent_task("a", str(tmp_path / "never")))
            await asyncio.to_thread(eventually, (tmp_path / "slow").exists)
            waiting.cancel()
            run.cancel()
            await asyncio.wait([run, waiting])
            assert (await agents.run_agent_task("a", str(tmp_path / "next"))).success
        assert not (tmp_path / "never").exists()

    asyncio.run(asyncio.wait_for(main(), 60))
