"""`run_agent_task` and the agents of the config: found, made when they are wanted, and stopped with their caller."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import Ending, Task, TaskResult, Workflow
from orchestrator.agents import AgentOrchestrator, run_agent_task
from orchestrator.config import read_config
from orchestrator.exceptions import ConfigError
from tests.agents.acts import asked, told, tool
from tests.faults.driver import driving
from tests.waiting import lines_of

_TEAM = """
import os
from dataclasses import dataclass

print("loaded")
with open("loads", "a") as file:
    file.write("load\\n")

calls = []


def remember(task: str) -> int:
    calls.append(task)
    return len(calls)


def count(task: str) -> int:
    return len(calls)


@dataclass
class Reviewer:
    mood: str

    def run(self, task: str) -> tuple[str, int]:
        return f"{self.mood}: {task}", os.getpid()


reviewer = Reviewer("kind")
number = 17
"""

_CONFIG = """
[agents.tool]
description = "Tell what it is given"
command = [PYTHON, TOOL, "--prompt", "{task}"]
env = { WORD = "s3cret-word" }
cwd = "sub"
timeout = "1m"
memory = "1G"
concurrency = 2

[agents.slow]
command = ["sleep", "600"]
timeout = 0.2
retries = 1

[agents."two words"]
command = ["echo", "{task}"]

[agents.reviewer]
python = "team.py:reviewer"
timeout = "1m"
concurrency = 1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with agents, in a folder whose name has spaces; it is the working directory."""
    folder = tmp_path / "my fine project"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "team.py").write_text(_TEAM, encoding="utf-8")
    (folder / "broken.py").write_text("import os\n\nraise RuntimeError('not today')\n", encoding="utf-8")
    (folder / "unread.py").write_text("x = 1\ndef (:\n", encoding="utf-8")
    config = _CONFIG.replace("PYTHON", repr(sys.executable)).replace("TOOL", repr(tool(folder)))
    for name in ("team:remember", "team:count", "team:number", "team:remembr", "broken:x", "unread:x", "missing:x"):
        file, _, what = name.partition(":")
        config += f'[agents.{what if file == "team" else file}]\npython = "{file}.py:{what}"\n'
    (folder / "orchestrator.toml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(folder)
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    AgentOrchestrator.default().close()


# The config


def test_agents_of_the_nearest_config_are_known_and_no_file_is_executed_before_it_is_wanted(project: Path) -> None:
    agents = AgentOrchestrator.default()
    assert agents.agents["tool"] == "Tell what it is given"
    assert "reviewer" in agents.agents
    assert "did you mean 'reviewer'" in str(run_agent_task("reviewr", "x").error)
    assert run_agent_task("two words", "hi").output == "hi\n"
    assert not (project / "loads").exists()


def test_a_command_of_the_config_runs_on_its_terms(project: Path) -> None:
    heard = told(run_agent_task("tool", "-x {task} ü"))
    assert heard == {"args": ["--prompt", "-x {task} ü"], "stdin": "-x {task} ü", "cwd": str(project / "sub"),
                     "word": "s3cret-word"}  # fmt: skip
    task = AgentOrchestrator.default().as_task("tool", "x")
    assert (task.timeout, task.memory_limit) == (60, 1 << 30)
    assert "s3cret" not in repr(task)
    result = run_agent_task("slow", "x")
    assert (result.ending, result.attempts) == (Ending.TIMED_OUT, 2)


def test_agents_of_one_python_file_share_its_state_and_it_is_executed_once(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert [run_agent_task("remember", "x").value for _ in range(3)] == [1, 2, 3]
    assert run_agent_task("count", "x").value == 3
    assert lines_of(project / "loads") == ["load"]
    assert capfd.readouterr().out == ""


def test_an_agent_of_a_python_file_travels_to_a_worker(project: Path) -> None:
    said, pid = run_agent_task("reviewer", "good").unwrap()
    assert said == "kind: good"
    assert pid != os.getpid()
    assert lines_of(project / "loads") == ["load"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("remembr", "team.py has no 'remembr'; did you mean 'remember'"),
        ("number", "agent 'number' must be callable"),
        ("broken", "broken.py, line 3: RuntimeError: not today"),
        ("unread", "unread.py, line 2: invalid syntax"),
        ("missing", "there is no file missing.py"),
    ],
)
def test_an_agent_that_cannot_be_made_is_a_mistake_in_the_config(project: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run_agent_task(name, "x")
    with pytest.raises(ConfigError, match=words):
        AgentOrchestrator.default().as_task(name, "x")


def test_a_mistake_in_the_config_is_told_until_it_is_mended(project: Path) -> None:
    config = project / "orchestrator.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("concurrency = 2", "concurency = 2"), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"agents\.tool\.concurency: unknown key; did you mean 'concurrency'"):
            run_agent_task("tool", "x")
    config.write_text(text, encoding="utf-8")
    assert run_agent_task("tool", "x").success


def test_what_is_registered_on_the_default_one_is_known_beside_the_configs_until_it_is_closed(project: Path) -> None:
    AgentOrchestrator.default().register("loud", str.upper)
    assert run_agent_task("loud", "x").value == "X"
    with pytest.raises(ValueError, match="there is an agent 'tool' already"):
        AgentOrchestrator.default().register("tool", str.upper)
    AgentOrchestrator.default().register("tool", str.upper, replace=True)
    assert run_agent_task("tool", "x").value == "X"
    AgentOrchestrator.default().close()
    assert not run_agent_task("loud", "x").success
    assert told(run_agent_task("tool", "x"))["stdin"] == "x"


def test_an_orchestrator_can_have_a_config_of_its_own(project: Path) -> None:
    (project / "other.toml").write_text('[agents.a]\ncommand = ["cat"]\n', encoding="utf-8")
    agents = AgentOrchestrator(read_config("other.toml"))
    assert agents.agents == {"a": ""}
    assert asked(agents, "a", "x").output == "x"
    assert AgentOrchestrator().agents == {}


# The blocking function


def test_it_can_be_called_where_an_event_loop_runs_and_in_threads(project: Path) -> None:
    async def in_loop(task: str) -> str:
        await asyncio.sleep(0)
        return f"{task} in {threading.current_thread().name}"

    async def main() -> tuple[TaskResult, TaskResult]:
        return run_agent_task("in loop", "x"), await asyncio.to_thread(run_agent_task, "two words", "y")

    AgentOrchestrator.default().register("in loop", in_loop, concurrency=1)
    inside, beside = asyncio.run(main())
    assert inside.value.startswith("x in orchestrator-run")
    assert beside.output == "y\n"


def test_an_agent_can_run_another_one(project: Path) -> None:
    async def from_loop(task: str) -> str:
        return run_agent_task("two words", f"{task} from a loop").output

    AgentOrchestrator.default().register("from loop", from_loop)
    AgentOrchestrator.default().register("from thread", lambda task: run_agent_task("from loop", task).value)
    assert run_agent_task("from thread", "x").value == "x from a loop\n"


_ASKING = """
from orchestrator.agents import run_agent_task

heard = run_agent_task("echo", "loaded").output + run_agent_task("other", "!").value


def tell(task):
    return heard + task
"""
_LOADING = """
import os, time
from concurrent.futures import ThreadPoolExecutor
from orchestrator import ConfigError
from orchestrator.agents import run_agent_task

with ThreadPoolExecutor(4) as threads:
    for result in threads.map(run_agent_task, ["asking", "echo", "asking", "other"], "abcd"):
        print(getattr(result.value, "output", result.value))
try:
    run_agent_task("circle", "x")
except ConfigError as error:
    print(error)
with ThreadPoolExecutor(1) as threads:
    stuck = threads.submit(run_agent_task, "stuck", "x")
    while not os.path.exists("begun"):
        time.sleep(0.01)
    meanwhile = run_agent_task("echo", "meanwhile").output
    open("go", "w").close()
    print(stuck.result().value, meanwhile)
"""


def test_a_file_may_run_other_agents_while_it_is_loaded_and_keeps_none_waiting(tmp_path: Path) -> None:
    files = {
        "asking.py": _ASKING,
        "other.py": "other = str.upper",
        "circle.py": "from orchestrator.agents import run_agent_task\nrun_agent_task('circle', 'x')",
        "stuck.py": "import os, time\nopen('begun', 'w').close()\n"
        "while not os.path.exists('go'):\n  time.sleep(0.01)\nlast = str.title",
        "orchestrator.toml": "[agents]\necho = {command = ['cat']}\nasking = {python = 'asking.py:tell'}\n"
        "other = {python = 'other.py:other'}\ncircle = {python = 'circle.py:x'}\nstuck = {python = 'stuck.py:last'}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _LOADING],
        cwd=tmp_path,
        env=env,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["loaded!a", "b", "loaded!c", "D"], done.stderr
    assert lines[4].endswith("circle.py:x: the file runs an agent of its own while it is loaded: do that in a function")
    assert lines[5:] == ["X meanwhile"]


def test_a_workflow_that_is_stopped_stops_the_agent_that_its_thread_waits_for(project: Path) -> None:
    results = Workflow(
        tasks=[
            Task("waits", lambda: run_agent_task("forever", "600")),
            Task("fails", lambda: begun.wait(30) and 1 / 0),
        ],
        fail_fast=True,
    )
    begun = threading.Event()

    async def forever(task: str) -> None:
        begun.set()
        await asyncio.sleep(float(task))

    AgentOrchestrator.default().register("forever", forever)
    with pytest.raises(Exception, match="'fails' failed"):
        results.run()
    assert results.results["waits"].ending is Ending.CANCELLED


_AGENTS = """
from orchestrator.agents import AgentOrchestrator, run_agent_task
AgentOrchestrator.default().register("hang", [
    sys.executable, "-c", "from tests import crimes; crimes.swallow_interrupts('busy')", "{task}"], concurrency=1)
"""


@pytest.mark.parametrize("where", ["main", "loop"])
def test_ctrl_c_stops_the_agent_and_leaves_nothing(where: str, tmp_path: Path) -> None:
    call = "run_agent_task('hang', 'x')"
    script = {
        "main": call,
        "loop": f"async def main(): {call}; await asyncio.sleep(0); say('went on')\nasyncio.run(main())",
    }
    with driving(tmp_path, f"{_AGENTS}\n{script[where]}\nsay('no interrupt')") as driver:
        driver.announced("busy")
        driver.signal(signal.SIGINT)
        assert driver.ended(30) in (-signal.SIGINT, 130), driver
        assert driver.output == ""
        driver.leaves_nothing()


def test_ctrl_c_where_a_loop_of_ones_own_runs_stops_the_agent(tmp_path: Path) -> None:
    script = f"""
{_AGENTS}
async def main():
    run_agent_task('hang', 'x')
loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
except KeyboardInterrupt:
    say("interrupted")
loop.close()
"""
    with driving(tmp_path, script) as driver:
        driver.announced("busy")
        driver.signal(signal.SIGINT)
        driver.says("interrupted")
        assert driver.ended(30) == 0, driver
        driver.leaves_nothing()


def test_a_driver_that_is_killed_takes_its_agents_along(tmp_path: Path) -> None:
    with driving(tmp_path, f"{_AGENTS}\nrun_agent_task('hang', 'x')") as driver:
        driver.announced("busy")
        driver.signal(signal.SIGKILL)
        driver.ended()
        driver.leaves_nothing()


def test_cancelling_the_task_that_called_it_stops_the_agent(project: Path) -> None:
    begun = threading.Event()
    heard: list[str] = []

    async def forever(_: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            heard.append("stopped")

    def cancel(task: asyncio.Task[None]) -> None:
        begun.wait(30)
        task.cancel()  # as the loop's handler of Ctrl-C does while the loop is blocked

    async def main() -> None:
        me = asyncio.current_task()
        assert me is not None
        canceller = threading.Thread(target=cancel, args=(me,))
        canceller.start()
        try:
            run_agent_task("forever", "x")
        finally:
            heard.append("left")
            canceller.join()

    AgentOrchestrator.default().register("forever", forever)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert heard == ["stopped", "left"]
