"""`pipe`: what passes between commands, what they are given, and what their failures mean. In both of its ways."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ExecutionResult, pipe, shell
from tests.faults.driver import driving
from tests.faults.test_scripts import NASTY

MB = 1 << 20
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["in turn", "at once"])


def codes(result: ExecutionResult) -> list[int]:
    return [stage.return_code for stage in result.stages]


@BOTH_WAYS
def test_each_command_reads_what_the_one_before_has_printed(stream: bool) -> None:
    commands = ["printf 'b\\na\\nb\\n'", ["sort"], "uniq -c", ["tr", "-d", " "]]
    result = pipe(commands, stream=stream)
    assert result.success
    assert result.output == "1a\n2b\n"
    assert codes(result) == [0, 0, 0, 0]
    assert result.name == "printf 'b\\na\\nb\\n' | sort | uniq -c | tr -d ' '"
    assert pipe(["echo one"], stream=stream).output == "one\n"


@BOTH_WAYS
@pytest.mark.parametrize(
    "data", [bytes(range(256)), b"a\r\nb\r\n", b"\0\0", b"no newline", b"", os.urandom(3 * MB)], ids=lambda d: len(d)
)
def test_bytes_pass_as_they_are(data: bytes, stream: bool) -> None:
    """O4, X4"""
    result = pipe(["cat", ["cat"], "cat"], stdin=data, stream=stream)
    assert result.success
    assert result.streams[0] == data


@BOTH_WAYS
def test_the_output_may_go_to_an_open_file(tmp_path: Path, stream: bool) -> None:
    for open_file in (False, True):
        with open(tmp_path / "out", "wb") as file:
            result = pipe(["echo hello", "cat"], stdout=file if open_file else file.fileno(), stream=stream)
        assert (result.success, result.output) == (True, "")
        assert (tmp_path / "out").read_bytes() == b"hello\n"


@BOTH_WAYS
def test_standard_errors_of_all_stages_are_told_in_their_order_and_apart(stream: bool) -> None:
    result = pipe(["printf one >&2; echo x", "echo two >&2; cat"], stream=stream)
    assert (result.success, result.output, result.error) == (True, "x\n", "one\ntwo\n")
    assert [stage.error for stage in result.stages] == ["one", "two\n"]


# What it is given


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["text", "bytes", "path", "file", "descriptor", "result"])
def test_the_first_command_reads_every_kind_of_input(tmp_path: Path, kind: str, stream: bool) -> None:
    path = tmp_path / "input"
    path.write_text("input")
    with open(path) as file:
        kinds: dict[str, Any] = {
            "text": "input",
            "bytes": b"input",
            "path": path,
            "file": file,
            "descriptor": file.fileno(),
            "result": shell(["cat", str(path)])(),
        }
        assert pipe(["cat", "cat"], stdin=kinds[kind], stream=stream).output == "input"


@BOTH_WAYS
def test_without_input_the_first_command_reads_nothing(stream: bool) -> None:
    assert pipe(["cat", "wc -c"], stream=stream).output.strip() == "0"


@BOTH_WAYS
def test_an_input_that_does_not_exist_is_a_failed_result_that_names_it(tmp_path: Path, stream: bool) -> None:
    result = pipe(["cat", "cat"], stdin=tmp_path / "missing", stream=stream, timeout=30)
    assert (result.success, result.return_code) == (False, 126)
    assert str(tmp_path / "missing") in result.error
    assert result.stages[0].return_code == 126
    assert not result.stages[1].success or stream


@BOTH_WAYS
def test_a_fifo_to_which_nobody_writes_is_at_its_end(tmp_path: Path, stream: bool) -> None:
    """In a driver, for whoever opens a FIFO in our own process may wait for ever."""
    os.mkfifo(tmp_path / "fifo")
    script = f"""
    from pathlib import Path
    result = pipe(["cat", "wc -c"], stdin=Path(path("fifo")), stream={stream}, timeout=20)
    say("counted", result.output.strip(), result.success)
    """
    with driving(tmp_path, script) as driver:
        assert driver.says("counted", 15) == "0 True"
        assert driver.ended() == 0


@BOTH_WAYS
def test_a_list_sees_no_shell(stream: bool) -> None:
    """X6, Z2"""
    nasty = [*NASTY, "$(id)", "a;b", "|", "&", ">x"]
    result = pipe([["printf", "%s\\0", *nasty], "cat"], stream=stream)
    assert result.streams[0] == b"".join(os.fsencode(text) + b"\0" for text in nasty)
    as_bytes = pipe([[b"printf", b"%s\\0", *map(os.fsencode, nasty)], ["cat", "-"]], stream=stream)
    assert as_bytes.streams[0] == result.streams[0]


@BOTH_WAYS
def test_environment_and_directory_are_for_every_command(tmp_path: Path, stream: bool) -> None:
    commands = ["pwd; echo $WORD", "cat; pwd; echo $WORD"]
    result = pipe(commands, env={"WORD": "word"}, cwd=tmp_path, stream=stream)
    assert result.output == f"{tmp_path}\nword\n" * 2
    gone = pipe(commands, cwd=tmp_path / "gone", stream=stream)
    assert (gone.success, gone.return_code) == (False, 126)
    assert "gone" in gone.error


def test_what_is_no_list_of_commands_is_refused_and_the_place_is_named() -> None:
    for text in ("a | b", b"a | b"):
        with pytest.raises(TypeError, match="pipe needs a list of commands"):
            pipe(text)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one command"):
        pipe([])
    for empty in ("", " ", [], [""]):
        with pytest.raises(ValueError, match="command 2 is empty"):
            pipe(["echo", empty])
    for wrong in (None, 3, b"echo", {"a": 1}):
        with pytest.raises(TypeError, match="command 2 must be a shell line or a list"):
            pipe(["echo", wrong])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "options",
    [
        {"stdin": True}, {"stdin": 1.5}, {"stdin": -1}, {"stdout": "out.txt"}, {"stdout": -1}, {"stdout": True},
        {"timeout": 0}, {"timeout": math.nan}, {"timeout": "5"}, {"memory_limit": "lots"}, {"grace": -1},
    ],
    ids=str,
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused_before_anything_runs(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        pipe([["touch", str(tmp_path / "ran")]], **options)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@BOTH_WAYS
def test_a_gigabyte_passes_and_the_program_does_not_hold_it(tmp_path: Path, stream: bool) -> None:
    """X4"""
    script = f"""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = pipe(["head -c 1073741824 /dev/zero", "cat", ["wc", "-c"]], stream={stream})
    say("counted", result.output.strip(), result.success)
    say("grew", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    with driving(tmp_path, script) as driver:
        assert driver.says("counted", 100) == "1073741824 True"
        assert int(driver.says("grew")) < 64
        assert driver.ended() == 0


@BOTH_WAYS
def test_megabytes_pass_unchanged(tmp_path: Path, stream: bool) -> None:
    data = os.urandom(20 * MB)
    (tmp_path / "data").write_bytes(data)
    result = pipe([f"cat {shlex.quote(str(tmp_path / 'data'))}", "cat", ["sha256sum"]], stream=stream)
    assert result.output.split()[0] == hashlib.sha256(data).hexdigest()
