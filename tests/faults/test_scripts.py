"""Rows X: scripts as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from orchestrator import BatchRunner, Ending, ExecutionResult, run_parallel, run_script
from tests import crimes
from tests.faults.driver import driving
from tests.faults.street import NOISE_SECONDS, Stopwatch
from tests.waiting import wait_gone


def write(path: Path, text: str | bytes, mode: int = 0o755) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A script that notes each run in a file and prints."""
    return write(tmp_path / "good.sh", f"#!/bin/sh\necho run >> {tmp_path}/runs\necho fine\n")


def among_good(good: Path, *scripts: object, **options: object) -> list[ExecutionResult]:
    """Run scripts between good ones and return their results; the good ones each succeed once."""
    order: list[object] = [good]
    for script in scripts:
        order += [script, good]
    before = (good.parent / "runs").read_text().count("run") if (good.parent / "runs").exists() else 0
    results = BatchRunner(**options).run_batch(order, 3)  # type: ignore[arg-type]
    assert [(result.ending, result.output) for result in results[::2]] == [(Ending.OK, "fine\n")] * (len(scripts) + 1)
    assert (good.parent / "runs").read_text().count("run") == before + len(scripts) + 1
    return results[1::2]


def test_a_script_that_cannot_be_run_says_which_and_why(tmp_path: Path, good: Path) -> None:
    """X1"""
    (tmp_path / "folder").mkdir()
    cases: dict[Path, tuple[int, str]] = {
        tmp_path / "missing.sh": (127, "no such file"),
        tmp_path / "missing.py": (127, "no such file"),
        tmp_path / "folder": (126, "directory"),
        write(tmp_path / "plain.sh", "#!/bin/sh\necho no\n", 0o644): (126, "not executable"),
        write(tmp_path / "binary", b"\x00\x01\x02\xff" * 100): (126, "no program"),
        write(tmp_path / "dos.sh", "#!/bin/sh\r\necho no\r\n"): (126, "Windows line ends"),
        write(tmp_path / "strange.sh", "#!/no/such/interpreter\n"): (126, "/no/such/interpreter"),
        write(tmp_path / "empty", b""): (126, "no program"),
    }
    for (path, (code, why)), result in zip(cases.items(), among_good(good, *cases), strict=True):
        assert result.ending is Ending.RAISED
        assert result.return_code == code, (path, result)
        assert why in result.error
        assert str(path) in result.error
        assert result.name == str(path)


def test_a_syntax_error_and_an_exception_in_a_script_end_with_one_and_the_traceback(tmp_path: Path, good: Path) -> None:
    """X1"""
    wrong, raises = write(tmp_path / "wrong.py", "def :\n", 0o644), write(tmp_path / "raises.py", "1 / 0\n", 0o644)
    for result, name in zip(among_good(good, wrong, raises), ("SyntaxError", "ZeroDivisionError"), strict=True):
        assert (result.ending, result.return_code) == (Ending.RAISED, 1)
        assert name in result.error


def test_a_dangling_link_is_a_missing_file(tmp_path: Path, good: Path) -> None:
    """X1"""
    names = ("dangling.py", "dangling.sh")
    for name in names:
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    results = among_good(good, *(tmp_path / name for name in names), timeout=10)
    assert [result.ending for result in results] == [Ending.RAISED] * 2
    assert all(result.return_code for result in results)


def test_a_fifo_in_the_place_of_a_script_never_hangs(tmp_path: Path) -> None:
    """X1: in a driver, for whoever opens a FIFO in our own process waits for ever."""
    os.mkfifo(tmp_path / "fifo.sh")
    os.mkfifo(tmp_path / "fifo.py")
    script = """
    results = BatchRunner(timeout=1, grace=0.1).run_batch([path("fifo.sh"), path("fifo.py")])
    say("codes", *(result.ending.name in ("RAISED", "TIMED_OUT") for result in results))
    """
    with driving(tmp_path, script) as driver:
        assert driver.says("codes", 15) == "True True"
        assert driver.ended() == 0
        driver.leaves_nothing()


def test_every_exit_code_comes_back_exactly(tmp_path: Path) -> None:
    """X2"""
    script = write(tmp_path / "code.sh", '#!/bin/sh\nexit "$1"\n')
    results = BatchRunner().run_batch([[script, str(code)] for code in range(256)], 4)
    assert [result.return_code for result in results] == list(range(256))
    assert [result.success for result in results] == [True] + [False] * 255
    assert results[3].ending is Ending.RAISED


def test_death_by_a_signal_is_a_crash_that_names_it(tmp_path: Path) -> None:
    """X2"""
    script = write(tmp_path / "dies.sh", '#!/bin/sh\necho "$1"\nkill -"$1" $$\nsleep 60\n')
    harmless = {signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT}
    harmless |= {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ}
    numbers = [number for number in signal.Signals if number not in harmless]
    results = BatchRunner(timeout=30).run_batch([[script, str(int(number))] for number in numbers], 4)
    for number, result in zip(numbers, results, strict=True):
        assert result.ending is Ending.CRASHED, (number, result)
        assert result.return_code == 128 + number
        assert number.name in result.error
        assert result.output == f"{int(number)}\n"


def test_a_script_that_is_stopped_keeps_its_output_and_its_tree_goes(tmp_path: Path, good: Path) -> None:
    """X3"""
    announcement = str(tmp_path / "family")
    script = write(
        tmp_path / "hangs.py",
        f"""
from tests import crimes
print("partial", flush=True)
print("unflushed", end="")
crimes.start_a_family({announcement!r})
crimes.swallow_interrupts()
""",
    )
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with Stopwatch() as watch:
        [result] = among_good(good, script, timeout=2.5, grace=0.3, env=env)
    assert (result.ending, result.return_code) == (Ending.TIMED_OUT, 124)
    assert "partial" in result.output
    assert "unflushed" in result.output
    assert watch.seconds < 2.5 + 0.3 + 1 + 2 * NOISE_SECONDS
    for pid in map(int, Path(announcement).read_text().split()):
        wait_gone(pid, 5)


def test_a_script_that_catches_the_stop_request_can_clean_up(tmp_path: Path) -> None:
    """X3"""
    text = "#!/bin/sh\ntrap 'echo cleaned; exit 9' TERM\necho begun\nwhile :; do sleep 0.05; done\n"
    script = write(tmp_path / "traps.sh", text)
    [result] = BatchRunner(timeout=0.5, grace=5).run_batch([script])
    assert (result.ending, result.return_code) == (Ending.TIMED_OUT, 124)
    assert result.output == "begun\ncleaned\n"
    assert result.execution_time < 0.5 + NOISE_SECONDS


def test_a_daemon_that_a_script_leaves_is_reported_and_stopped(tmp_path: Path, good: Path) -> None:
    """X3"""
    text = f"#!/bin/sh\nsetsid sh -c 'echo $$ > {tmp_path}/daemon; exec sleep 600' >/dev/null 2>&1 &\n"
    text += f"while [ ! -s {tmp_path}/daemon ]; do sleep 0.01; done\necho done\n"
    [result] = among_good(good, write(tmp_path / "leaves.sh", text))
    assert (result.ending, result.output) == (Ending.OK, "done\n")
    assert "stopped what it left running" in result.error
    assert "sleep" in result.error
    wait_gone(int((tmp_path / "daemon").read_text()), 5)


NASTY = [
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "; rm -rf x",
    "*",
    "\n",
    "\\",
    "-rf",
    "--",
    "",
    "ü→🎉",
    os.fsdecode(b"\xff\xfe"),
]


def test_arguments_arrive_as_they_were_given(tmp_path: Path) -> None:
    """X6, Z2"""
    script = write(
        tmp_path / "argv.py", "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
    )
    expected = [os.fsencode(argument).hex() for argument in NASTY]
    assert json.loads(BatchRunner().run_batch([[script, *NASTY]])[0].output) == expected
    assert json.loads(run_script(script, NASTY).output) == expected
    shell = write(tmp_path / "argv.sh", '#!/bin/sh\nfor a in "$@"; do printf "%s|" "$a"; done\n')
    assert run_script(shell, ["a b", "$HOME", "*"]).output == "a b|$HOME|*|"


@pytest.mark.parametrize(
    "name", ["with space.sh", "quo'te.sh", "$HOME.sh", "-c.sh", "new\nline.sh", "a;b.sh", os.fsdecode(b"\xffx.sh")]
)
def test_names_of_scripts_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """X6"""
    write(tmp_path / name, "#!/bin/sh\necho fine\n")
    monkeypatch.chdir(tmp_path)
    for script in (name, [name], tmp_path / name):
        [result] = BatchRunner().run_batch([script])
        assert (result.ending, result.output) == (Ending.OK, "fine\n"), result


def test_a_string_with_arguments_is_split_as_a_shell_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X6"""
    write(tmp_path / "show.sh", '#!/bin/sh\nprintf "%s|" "$@"\n')
    monkeypatch.chdir(tmp_path)
    [result] = BatchRunner().run_batch(["show.sh one 'two three' $HOME"])
    assert result.output == "one|two three|$HOME|"
    [lost] = BatchRunner().run_batch(["show.sh 'unterminated"])
    assert lost.return_code == 127


def test_what_no_program_can_be_given_is_a_clear_failure(tmp_path: Path, good: Path) -> None:
    """X7"""
    script = write(tmp_path / "any.sh", "#!/bin/sh\necho ran\n")
    long, nul, nul_name = among_good(good, [script, "x" * 10_000_000], [script, "a\0b"], [str(script) + "\0", "a"])
    assert long.ending is nul.ending is nul_name.ending is Ending.RAISED
    assert "too long" in long.error
    assert "null" in nul.error
    assert {long.return_code, nul.return_code} == {126}
    assert nul_name.return_code in (126, 127)


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path, good: Path) -> None:
    """X7"""
    gone = tmp_path / "gone"
    gone.mkdir()
    runner = BatchRunner(cwd=gone)
    gone.rmdir()
    results = runner.run_batch([good, good])
    for result in results:
        assert (result.ending, result.return_code) == (Ending.RAISED, 126)
        assert str(gone) in result.error
    [task] = run_parallel([partial(crimes.echo, 1)], 1, cwd=gone)
    assert task.ending is Ending.RAISED
    assert str(gone) in task.error
    assert run_parallel([partial(crimes.echo, 1)], 1)[0].value == 1


def test_the_same_script_twice_has_two_results_with_their_own_processes(tmp_path: Path) -> None:
    """X8"""
    script = write(tmp_path / "pid.sh", "#!/bin/sh\necho $$\n")
    results = BatchRunner().run_batch([script] * 8, 3)
    assert len({result.output for result in results}) == 8
    assert [result.output.strip() for result in results] == [str(result.pid) for result in results]


@pytest.mark.slow
def test_many_scripts_have_as_many_distinct_results(tmp_path: Path) -> None:
    """X8"""
    script = write(tmp_path / "echo.sh", '#!/bin/sh\necho "$1"\n')
    results = BatchRunner().run_batch([[script, str(number)] for number in range(1000)], 4)
    assert [result.output for result in results] == [f"{number}\n" for number in range(1000)]


def test_a_batch_starts_the_next_script_as_soon_as_one_ends(tmp_path: Path) -> None:
    """Batches are not waited for: one that waits for the last must not hold up those between."""
    waits = write(tmp_path / "waits.sh", f"#!/bin/sh\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.02; done\necho waited\n")
    quick, opens = (
        write(tmp_path / "quick.sh", "#!/bin/sh\n"),
        write(tmp_path / "opens.sh", f"#!/bin/sh\n: > {tmp_path}/go\n"),
    )
    results = BatchRunner(timeout=20).run_batch([waits, *[quick] * 6, opens], 2)
    assert all(result.success for result in results)
    assert results[0].output == "waited\n"


def test_environment_and_directory_reach_the_script(tmp_path: Path) -> None:
    """X, `env` and `cwd`"""
    script = write(tmp_path / "env.sh", "#!/bin/sh\npwd\necho $GREETING $PATH\n")
    [result] = BatchRunner(cwd="/", env={"GREETING": "hello"}).run_batch([script])
    assert result.output == f"/\nhello {os.environ['PATH']}\n"
