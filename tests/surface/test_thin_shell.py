"""`shell`: commands as callables, which are results whatever comes of them."""

from __future__ import annotations

import errno
import io
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Ending, Task, Workflow, pipe, shell
from tests.faults.test_scripts import NASTY
from tests.surface.test_thin import HANGS
from tests.waiting import eventually, lines_of, wait_gone


def test_a_command_that_fails_is_a_result_with_its_code_and_both_streams() -> None:
    result = shell("echo out; echo err >&2; exit 7")()
    assert (result.success, result.return_code, result.output) == (False, 7, "out\n")
    assert result.error.startswith("err\n")
    assert shell("exit 0")().success


@pytest.mark.parametrize("command", ["/no/such/command", ["/no/such/command"], ["no-such-command-either"]])
def test_a_command_that_is_not_found_is_a_result_with_127(command: str | list[str]) -> None:
    result = shell(command)()
    assert (result.success, result.return_code) == (False, 127)
    assert "no" in result.error and "such" in result.error


def test_a_line_with_an_unterminated_quote_is_a_failed_result() -> None:
    result = shell("echo 'never closed")()
    assert not result.success
    assert result.return_code == 2
    assert result.error


def test_arguments_reach_a_line_as_its_parameters_and_a_list_at_its_end_verbatim() -> None:
    """X6, Z2"""
    expected = b"".join(os.fsencode(text) + b"\0" for text in NASTY)
    for command in ("""printf '%s\\0' "$@" """, ["printf", "%s\\0"]):
        assert shell(command)(*NASTY).streams[0] == expected
        assert shell(command)(*map(os.fsencode, NASTY)).streams[0] == expected
    assert shell(["printf", "%s\\0", *NASTY])().streams[0] == expected
    assert shell(["printf", "%s|"])(1, 2.5, Path("/tmp")).output == "1|2.5|/tmp|"


@pytest.mark.parametrize("argument", [None, True, ["a"], object()])
def test_what_no_program_can_get_as_an_argument_is_refused(argument: Any) -> None:
    with pytest.raises(TypeError, match="an argument of a program must be"):
        shell("echo $1")(argument)
    with pytest.raises(TypeError, match="an argument of a program must be"):
        shell(["echo", argument])


def test_a_nul_in_an_argument_and_a_list_too_long_are_failed_results() -> None:
    """X7"""
    nul, long = shell(["echo", "a\0b"])(), shell("echo")("x" * 10_000_000)
    assert (nul.success, nul.return_code, long.success, long.return_code) == (False, 126, False, 126)
    assert "null" in nul.error and "too long" in long.error


@pytest.mark.parametrize("command", ["", "  \n", [], [""]])
def test_an_empty_command_is_refused(command: Any) -> None:
    with pytest.raises(ValueError, match="the command is empty"):
        shell(command)


@pytest.mark.parametrize("command", [None, 3, b"ls", {"ls": 1}, {"ls"}, print])
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(TypeError, match="the command must be a shell line or a list of arguments"):
        shell(command)


@pytest.mark.parametrize("option", ["timeout", "memory_limit", "grace"])
@pytest.mark.parametrize("value", [-1, math.nan, True, "soon"])
def test_a_limit_that_makes_no_sense_is_refused_at_once(option: str, value: Any) -> None:
    """T9"""
    with pytest.raises((TypeError, ValueError)):
        shell("true", **{option: value})


def test_environment_and_directory_are_on_top_of_the_present_ones(tmp_path: Path) -> None:
    result = shell("pwd; echo $GREETING $PATH", env={"GREETING": "hello"}, cwd=tmp_path)()
    assert result.output == f"{tmp_path}\nhello {os.environ['PATH']}\n"
    gone = shell("pwd", cwd=tmp_path / "gone")()
    assert gone.return_code == 126 and "gone" in gone.error


def test_a_relative_directory_is_meant_from_where_the_callable_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    where = shell("pwd", cwd="in")
    monkeypatch.chdir("/")
    assert where().output == f"{tmp_path}/in\n"


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"a\r\nb\r\n", b"no newline", b"\0" * 3])
@pytest.mark.parametrize("kind", ["bytes", "path", "file", "descriptor", "result"])
def test_a_command_reads_every_kind_of_input_exactly(tmp_path: Path, kind: str, data: bytes) -> None:
    path = tmp_path / "input"
    path.write_bytes(data)
    with open(path, "rb") as file:
        kinds: dict[str, Callable[[], Any]] = {
            "bytes": lambda: data,
            "path": lambda: path,
            "file": lambda: file,
            "descriptor": file.fileno,
            "result": shell(["cat", str(path)]),
        }
        assert shell("cat", stdin=kinds[kind]())().streams[0] == data


def test_text_is_read_as_utf_8_and_the_input_of_a_call_replaces_the_callables_own() -> None:
    reads = shell("cat", stdin="ü→🎉\udcff")
    assert reads().streams[0] == "ü→🎉".encode() + b"\xff"
    assert reads(stdin="other").output == "other"
    assert shell("cat")().output == ""


def test_a_file_that_only_the_callable_holds_stays_open_for_it(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("text")
    reads = shell("cat", stdin=open(tmp_path / "input"))  # noqa: SIM115
    others = [open(os.devnull) for _ in range(20)]  # noqa: SIM115
    assert reads().output == "text"
    for file in others:
        file.close()
    assert isinstance(reads.stdin, type(others[0]))
    reads.stdin.close()


@pytest.mark.parametrize("stdin", [True, False, 1.5, ["a"], -1, -2, -3])
def test_what_no_command_can_read_is_refused_at_once(stdin: Any) -> None:
    """-1 would be `subprocess.PIPE`: a pipe that nobody serves, for which the command would wait for ever."""
    with pytest.raises((TypeError, ValueError), match="stdin must be"):
        shell("cat", stdin=stdin)


def test_a_command_past_its_time_is_stopped_with_all_it_has_started_and_keeps_its_output(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    result = shell(HANGS, timeout=1.5)(pid)
    assert (result.ending, result.return_code, result.output) == (Ending.TIMED_OUT, 124, "partial\n")
    wait_gone(int(pid.read_text()), 5)


def test_a_command_that_passes_its_memory_limit_is_stopped() -> None:
    hungry = ["python3", "-c", "import time; held = bytearray(300 << 20); time.sleep(600)"]
    assert shell(hungry, memory_limit="100M", timeout=60)().ending is Ending.OUT_OF_MEMORY


def test_a_flood_is_kept_as_head_and_tail() -> None:
    result = shell("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last", output_limit=2000)()
    assert result.success
    assert result.output.startswith("first\nxxx") and result.output.endswith("xxx\nlast\n")
    assert "bytes of output cut" in result.output
    assert len(result.output) < 3000


def test_one_callable_may_be_called_by_several_threads_at_once(tmp_path: Path) -> None:
    meets = shell(': > "$1"; while [ ! -e "$2" ]; do sleep 0.02; done; echo "$1"', cwd=tmp_path, timeout=30)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda pair=pair: found.append(meets(*pair).output)) for pair in ("ab", "bc", "ca")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == ["a\n", "b\n", "c\n"]


def test_a_background_child_that_a_command_leaves_is_reported_and_stopped(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    result = shell('(echo $BASHPID; exec sleep 600) & echo $! > "$1"; echo done')(pid)
    assert result.success
    assert "stopped what it left running" in result.error
    eventually(lambda: lines_of(pid))
    wait_gone(int(pid.read_text()), 5)


def test_what_is_only_in_memory_is_refused_with_the_cure() -> None:
    with pytest.raises(TypeError, match="give its contents, as text or bytes"):
        shell("cat", stdin=io.BytesIO(b"data"))()


def test_variables_that_are_no_text_and_limits_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="the variable 'A' must be text, not 1"):
        shell("echo", env={"A": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="the variable 'A' must be text"):
        pipe(["echo"], env={"A": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="output_limit must be at least 1 byte"):
        shell("echo", output_limit=0)


def test_the_output_limit_holds_in_a_workflow_too() -> None:
    flow = Workflow(tasks=[Task("a", shell("seq 100000", output_limit=1000))])
    assert len(flow.run()["a"].output) < 1200


def test_a_program_that_was_started_and_cannot_be_watched_is_stopped_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", scarce)
    result = shell(f"echo x >> {tmp_path}/ran; sleep 60")()
    assert (result.ending, result.return_code) == (Ending.CRASHED, 137)
    assert "could not be watched" in result.error
    assert len(lines_of(tmp_path / "ran")) <= 1
