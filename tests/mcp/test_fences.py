"""What an agent may not: leave the root, exceed the ceilings, read the values of variables."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.mcp_tools.ceilings import Ceilings
from tests.mcp.agent import Agent, settings, with_agent, write_scripts


@pytest.fixture
def fenced(tmp_path: Path) -> Path:
    """Return a root, next to which there are things that are none of an agent's business."""
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_scripts(root, inside="print('inside')")
    write_scripts(elsewhere, secret="open(__file__ + '.ran', 'w')")
    (tmp_path / "root-like").mkdir()
    (root / "link.py").symlink_to(elsewhere / "secret.py")
    (root / "folder").symlink_to(elsewhere)
    (root / "loop.py").symlink_to("loop.py")
    return root


@pytest.mark.parametrize(
    "path", ["../elsewhere/secret.py", "link.py", "folder/secret.py", "inner/../../elsewhere/secret.py", "ABSOLUTE"]
)
@pytest.mark.parametrize("tool", ["start_batch", "own arguments", "run_pipeline", "discover_scripts", "cwd"])
def test_no_path_leads_out_of_the_root(fenced: Path, path: str, tool: str) -> None:
    elsewhere = fenced.parent / "elsewhere"
    path = path.replace("ABSOLUTE", str(elsewhere / "secret.py"))
    folder = path.removesuffix("/secret.py")
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "start_batch": ("start_batch", {"scripts": ["inside.py", path]}),
        "own arguments": ("start_batch", {"scripts": ["inside.py", [path, "--really"]]}),
        "run_pipeline": ("run_pipeline", {"path": path}),
        "discover_scripts": ("discover_scripts", {"folder": folder}),
        "cwd": ("start_batch", {"scripts": ["inside.py"], "cwd": folder}),
    }
    name, arguments = calls[tool]
    refusal = with_agent(fenced, lambda agent: agent.refusal(name, **arguments))
    assert path in refusal or folder in refusal
    assert f"lies outside of the root {fenced}" in refusal
    assert not list(elsewhere.glob("*.ran"))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "scripts[0] is empty"),
        ("a\0b.py", "is no path"),
        ("../root-like", "lies outside of the root"),
        (".", "is a folder"),
        ("inner", "is a folder: name the scripts, see discover_scripts"),
    ],
)
def test_a_path_that_means_no_script_below_the_root_is_refused(fenced: Path, path: str, says: str) -> None:
    assert says in with_agent(fenced, lambda agent: agent.refusal("start_batch", scripts=[path]))


def test_a_path_within_the_root_may_be_written_in_any_way(fenced: Path) -> None:
    (fenced / "here.py").symlink_to("inside.py")

    async def work(agent: Agent) -> None:
        absolute = str(fenced / "inside.py")
        report = await agent.run("inside.py", "inner/../inside.py", absolute, "here.py", "loop.py")
        assert report["counts"] == {"ok": 4, "raised": 1}
        assert [task["name"] for task in report["tasks"][:3]] == ["inside.py", "inside.py (1)", "inside.py (2)"]

    with_agent(fenced, work)


def test_a_script_that_would_run_elsewhere_by_its_own_settings_is_refused(fenced: Path) -> None:
    write_scripts(fenced, away=f"{settings('cwd = ' + repr('../elsewhere'))}print(1)")
    refusal = with_agent(fenced, lambda agent: agent.refusal("start_batch", scripts=["away.py"]))
    assert "the working directory of away.py" in refusal and "lies outside of the root" in refusal


def test_ceilings_are_neither_exceeded_on_request_nor_by_a_scripts_own_settings(tmp_path: Path) -> None:
    write_scripts(
        tmp_path,
        patient=f"{settings('timeout = 1000')}import time; time.sleep(600)",
        hungry="x = bytearray(300 << 20); import time; time.sleep(600)",
    )

    async def work(agent: Agent) -> None:
        refusal = await agent.refusal("start_batch", scripts=["patient.py"], timeout_seconds=11)
        assert "timeout_seconds: 11 is more than this server allows, which is 10" in refusal
        assert "memory: 1.0 GB is more" in await agent.refusal("start_batch", scripts=["patient.py"], memory="1G")
        assert "jobs: 3 is more" in await agent.refusal("start_batch", scripts=["patient.py"], jobs=3)
        assert "jobs: 3 is more" in await agent.refusal("run_pipeline", path="patient.py", jobs=3)
        hungry = await agent.run("hungry.py")
        assert hungry["counts"] == {"out of memory": 1}
        asked = await agent.run("patient.py", timeout_seconds=0.5)
        assert asked["counts"] == {"timed out": 1}

    with_agent(tmp_path, work, Ceilings(jobs=2, seconds=10, memory=200 << 20))

    async def wait(agent: Agent) -> None:
        assert (await agent.run("patient.py"))["counts"] == {"timed out": 1}

    with_agent(tmp_path, wait, Ceilings(jobs=2, seconds=0.5))


def test_long_arguments_make_no_long_answers(tmp_path: Path) -> None:
    write_scripts(tmp_path, a="import sys; print(len(sys.argv[1]))")

    async def work(agent: Agent) -> None:
        report = await agent.run(["a.py", "x" * 100_000], ["a.py", "x" * 100_000], ["a.py", *"y" * 5000])
        assert report["counts"] == {"ok": 3}
        names = [task["name"] for task in report["tasks"]]
        assert max(map(len, names)) < 220
        assert len(set(names)) == 3
        assert await agent.output(report["run_id"], 1) == "100000\n"

    with_agent(tmp_path, work)


@pytest.mark.parametrize("anew", [False, True])
def test_a_root_that_was_deleted_is_told_of(fenced: Path, anew: bool) -> None:
    async def work(agent: Agent) -> None:
        shutil.rmtree(fenced)
        if anew:
            fenced.mkdir()
            write_scripts(fenced, inside="")
        for tool, arguments in (
            ("discover_scripts", {}),
            ("start_batch", {"scripts": ["inside.py"]}),
            ("run_pipeline", {"path": "inside.py"}),
        ):
            assert f"{fenced} was deleted under this server" in await agent.refusal(tool, **arguments)

    with_agent(fenced, work)


def test_environment_values_are_never_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hush-hush")
    own = settings("env = {OTHER_TOKEN = 'hush-hush'}")
    check = "import os; assert os.environ['OTHER_TOKEN'] == os.environ['SOME_TOKEN']; print('well')"
    write_scripts(tmp_path, a=own + check)

    async def work(agent: Agent) -> None:
        found = await agent.call("discover_scripts")
        report = await agent.run("a.py")
        assert report["state"] == "finished"
        assert "hush-hush" not in f"{found} {report}"

    with_agent(tmp_path, work)
