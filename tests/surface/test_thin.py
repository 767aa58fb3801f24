"""The one-liners that run scripts: run, run_async, batch, chain_scripts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, ExecutionResult, batch, chain_scripts, run, run_async
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.faults.test_scripts import write
from tests.waiting import lines_of, wait_gone

HANGS = 'echo partial; echo $$ > "$1"; sleep 600 & wait\n'
"""Prints, says its pid in a file, and waits for a child of its own."""


def most_at_once(log: Path) -> int:
    """Return how many overlapped at most of those that noted `+` and `-` in a file."""
    now = most = 0
    for line in lines_of(log):
        now += 1 if line == "+" else -1
        most = max(most, now)
    return most


def noting(folder: Path) -> Path:
    """Make a script that notes when it starts and ends."""
    return write(folder / "notes.sh", f"#!/bin/sh\necho + >> {folder}/log\nsleep 0.1\necho - >> {folder}/log\n")


def test_run_gives_a_script_its_arguments_and_returns_its_result(tmp_path: Path) -> None:
    script = write(tmp_path / "it.py", "import sys; print(sys.argv[1:]); sys.exit(len(sys.argv) - 1)\n", 0o644)
    result = run(script, ["a b", "$HOME"])
    assert isinstance(result, ExecutionResult)
    assert (result.success, result.return_code, result.output) == (False, 2, "['a b', '$HOME']\n")
    assert run(str(script)).success
    assert run(script, []).output == "[]\n"


def test_run_splits_one_text_as_a_shell_would_unless_there_are_arguments_beside_it(tmp_path: Path) -> None:
    script = write(tmp_path / "show.sh", '#!/bin/sh\nprintf "%s|" "$@"\n')
    assert run(f"{script} one 'two three' $HOME").output == "one|two three|$HOME|"
    assert run(f"{script} one", ["two"]).return_code == 127


@pytest.mark.parametrize("args", ["--fast", b"--fast"])
def test_arguments_given_as_one_text_are_refused(args: Any) -> None:
    with pytest.raises(TypeError, match=r"args must be a list of arguments, such as \["):
        run("script.py", args)


def test_a_script_that_does_not_exist_is_a_result_that_names_it() -> None:
    result = run("/no/such/script.py", ["x"])
    assert (result.success, result.return_code) == (False, 127)
    assert "/no/such/script.py" in result.error


def test_run_takes_the_options_of_the_runners(tmp_path: Path) -> None:
    script = write(tmp_path / "env.sh", "#!/bin/sh\npwd; echo $GREETING; exit 3\n")
    result = run(script, cwd="/", env={"GREETING": "hello"}, retries=2)
    assert (result.output, result.attempts, len(result.history)) == ("/\nhello\n", 3, 2)
    with pytest.raises(TypeError):
        run(script, no_such_option=1)


def test_run_async_leaves_the_loop_free(tmp_path: Path) -> None:
    """Each script waits for the other, and both for the loop."""
    text = '#!/bin/sh\n: > "$1"\nwhile [ ! -e "$2" ] || [ ! -e go ]; do sleep 0.02; done\necho "$1"\n'
    script = write(tmp_path / "meet.sh", text)

    async def main() -> list[ExecutionResult]:
        options: dict[str, Any] = {"timeout": 30, "cwd": tmp_path}
        both = asyncio.gather(run_async(script, ["a", "b"], **options), run_async(script, ["b", "a"], **options))
        while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
            await asyncio.sleep(0.01)
        (tmp_path / "go").touch()
        return list(await both)

    assert [result.output for result in asyncio.run(main())] == ["a\n", "b\n"]


def test_a_cancelled_run_async_has_stopped_the_script_and_its_children(tmp_path: Path) -> None:
    """T14"""
    pid = tmp_path / "pid"
    script = write(tmp_path / "hangs.sh", "#!/bin/sh\n" + HANGS)

    async def main() -> None:
        task = asyncio.create_task(run_async(script, [str(pid)]))
        while not lines_of(pid):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Stopwatch() as watch:
        asyncio.run(main())
    assert watch.seconds < 5 + 2 * NOISE_SECONDS
    wait_gone(int(pid.read_text()), 5)


def test_a_batch_has_its_results_in_the_order_given_whatever_ends_first(tmp_path: Path) -> None:
    waits = write(tmp_path / "waits.sh", f"#!/bin/sh\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.02; done\necho waited\n")
    opens = write(tmp_path / "opens.sh", f"#!/bin/sh\n: > {tmp_path}/go\necho opened\n")
    results = batch([waits, "/no/such", [opens, "argument"]], max_workers=2, timeout=30)
    assert [result.output for result in results] == ["waited\n", "", "opened\n"]
    assert [result.return_code for result in results] == [0, 127, 0]
    assert batch([]) == []


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_batch_runs_no_more_scripts_at_a_time_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, by_variable: bool
) -> None:
    script = noting(tmp_path)
    if by_variable:
        monkeypatch.setenv("CODOMYRMEX_MAX_WORKERS", str(most))
    results = batch([script] * 6, None if by_variable else most)
    assert all(result.success for result in results)
    assert len(lines_of(tmp_path / "log")) == 12
    assert most_at_once(tmp_path / "log") == most


def test_a_batch_of_one_text_or_with_no_workers_is_refused() -> None:
    with pytest.raises(TypeError, match="not the one text"):
        batch("a.py b.py")
    for workers in (0, -1, 2.5, True):
        with pytest.raises((TypeError, ValueError), match="max_workers"):
            batch(["a.py"], max_workers=workers)  # type: ignore[arg-type]


def test_a_chain_stops_at_the_first_failure_and_says_because_of_which(tmp_path: Path) -> None:
    good = write(tmp_path / "good.sh", f'#!/bin/sh\necho "$1" >> {tmp_path}/ran\n')
    bad = write(tmp_path / "bad.sh", "#!/bin/sh\nexit 9\n")
    results = chain_scripts([good, "one"], f"{good} two", bad, [good, "three"], good)
    assert [result.return_code for result in results[:3]] == [0, 0, 9]
    assert [result.ending for result in results[3:]] == [Ending.SKIPPED] * 2
    assert all("bad.sh" in result.error for result in results[3:])
    assert lines_of(tmp_path / "ran") == ["one", "two"]


def test_a_chain_runs_one_script_after_another(tmp_path: Path) -> None:
    assert all(result.success for result in chain_scripts(*[noting(tmp_path)] * 4))
    assert most_at_once(tmp_path / "log") == 1
    assert chain_scripts() == []


def test_a_script_of_a_chain_that_hangs_ends_the_chain(tmp_path: Path) -> None:
    hangs = write(tmp_path / "hangs.sh", "#!/bin/sh\n" + HANGS)
    pid = tmp_path / "pid"
    first, second = chain_scripts([hangs, str(pid)], hangs, timeout=1.5)
    assert (first.ending, first.output, second.ending) == (Ending.TIMED_OUT, "partial\n", Ending.SKIPPED)
    wait_gone(int(pid.read_text()), 5)


def test_in_a_chain_a_script_that_is_tried_again_comes_before_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log"
    scripts = []
    for name, code in (("a", 1), ("b", 0)):
        script = tmp_path / f"{name}.sh"
        script.write_text(f"#!/bin/sh\necho {name} >> {log}\nexit {code}\n")
        script.chmod(0o755)
        scripts.append(str(script))
    first, second = chain_scripts(*scripts, retries=1)
    assert log.read_text().split() == ["a", "a"]
    assert (first.attempts, second.ending) == (2, Ending.SKIPPED)


def test_cancelled_twice_it_still_does_not_block_the_event_loop(tmp_path: Path) -> None:
    script = write(
        tmp_path / "stubborn.sh", f"#!/bin/sh\ntrap '' TERM\necho $$ >> {tmp_path}/pid\nsleep 600\nsleep 600\n"
    )
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - start)

    async def main() -> None:
        beating = asyncio.create_task(beat())
        running = asyncio.create_task(run_async(script, grace=3))
        while not lines_of(tmp_path / "pid"):
            await asyncio.sleep(0.01)
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await running
        beating.cancel()

    asyncio.run(main())
    assert longest < 2
    wait_gone(int(lines_of(tmp_path / "pid")[0]), 5)
