"""`orchestrator batch`: JSON, the results folder, colours, odd names, and streams that do not work."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.surface.shell import Shell

FAILS = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)\n"
ESCAPES = r"""
import os, sys
os.write(1, b"\x1b]0;new title\x07\x1b[31mred\x1b[0m 10%\r20%\r\nnull\0bell\x07 \xff\xfe \xc2\x9b31m")
sys.exit(1)
"""


def test_json_is_one_document_on_standard_output_and_nothing_else(shell: Shell) -> None:
    done = shell.batch("--json", "-v", shell.script("fails.py", FAILS), shell.script("fine.py"), "gone.py")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 1
    assert document["success"] is False
    assert document["counts"] == {"ok": 1, "raised": 2}
    fails, fine, gone = document["scripts"]
    assert (fails["script"], fails["ending"], fails["return_code"]) == ("fails.py", "raised", 3)
    assert (fails["stdout"], fails["stderr"], fails["reason"]) == ("out\n", "err\n", "exited with code 3")
    assert (fine["success"], fine["attempts"], fine["stdout"]) == (True, 1, "fine\n")
    assert fine["seconds"] > 0
    assert fine["peak_memory_bytes"] > 1_000_000
    assert (gone["return_code"], gone["pid"]) == (127, None)
    assert "3 scripts: 1 ok, 2 raised in " in done.stderr


def test_json_holds_output_and_names_that_are_no_utf8_as_text_with_replacements(shell: Shell) -> None:
    script = shell.script(b"caf\xe9\n.py", ESCAPES)
    done = shell.batch("--json", script)
    assert done.stdout.isascii()
    (result,) = json.loads(done.stdout)["scripts"]
    assert result["script"] == "caf\ufffd\n.py"
    assert result["stdout"].startswith("\x1b]0;new title\x07\x1b[31mred")
    assert "null\0bell\x07 \ufffd\ufffd \x9b31m" in result["stdout"]


def test_json_of_a_dry_run_names_variables_but_keeps_their_values_out(shell: Shell) -> None:
    done = shell.batch("--json", "--dry-run", shell.script("a.py"), "--env", "TOKEN=sesame", "--timeout", "2m")
    document = json.loads(done.stdout)
    (script,) = document["scripts"]
    assert (script["script"], script["timeout_seconds"], script["variables"]) == ("a.py", 120, ["TOKEN"])
    assert "sesame" not in done.stdout


def test_the_results_folder_has_a_private_folder_for_each_script(shell: Shell) -> None:
    done = shell.batch("--results", "out/deep", shell.script("jobs/fails.py", FAILS), shell.script("fine.py"))
    assert done.returncode == 1
    root = shell.folder / "out" / "deep"
    assert sorted(path.name for path in root.iterdir()) == ["001-fails.py", "002-fine.py"]
    fails = root / "001-fails.py"
    assert (fails / "stdout").read_bytes() == b"out\n"
    assert (fails / "stderr").read_bytes() == b"err\n"
    meta = json.loads((fails / "meta.json").read_text())
    assert (meta["script"], meta["ending"], meta["return_code"]) == ("jobs/fails.py", "raised", 3)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in fails.iterdir()}
    assert (stat.S_IMODE(fails.stat().st_mode), modes) == (0o700, {0o600})


def test_the_results_folder_keeps_the_bytes_and_every_attempt(shell: Shell) -> None:
    shell.batch("--results", "out", "--retries", "1", shell.script(b"caf\xe9\n.py", ESCAPES))
    (folder,) = (shell.folder / "out").iterdir()
    assert folder.name == "001-caf__.py"
    assert b"\xff\xfe" in (folder / "stdout").read_bytes()
    assert b"\xff\xfe" in (folder / "attempt-1" / "stdout").read_bytes()
    assert json.loads((folder / "attempt-1" / "meta.json").read_text())["return_code"] == 1


def test_a_results_folder_with_something_in_it_is_refused_before_anything_runs(shell: Shell) -> None:
    script = shell.script("jobs/touch.py", "open('touched', 'w')\n")
    done = shell.batch("--results", "jobs", script)
    assert done.returncode == 2
    assert "'jobs' is not empty" in done.stderr
    assert not (shell.folder / "touched").exists()


def test_a_results_folder_that_cannot_be_made_is_found_before_anything_runs(shell: Shell) -> None:
    script = shell.script("touch.py", "open('touched', 'w')\n")
    done = shell.batch("--results", "touch.py/out", script)
    assert done.returncode == 3
    assert "cannot write to the results folder 'touch.py/out'" in done.stderr
    assert not (shell.folder / "touched").exists()


def test_results_that_cannot_be_written_later_are_still_shown_and_the_exit_code_is_3(shell: Shell) -> None:
    spoiler = shell.script("spoiler.py", "import os\nos.rmdir('out')\nprint('done')\n")
    done = shell.batch("--results", "out", spoiler)
    assert done.returncode == 3
    assert "1 script: 1 ok" in done.stdout
    assert "could not write all results" in done.stderr
    assert "Traceback" not in done.stderr


def test_escape_sequences_and_control_characters_of_scripts_do_not_reach_the_terminal(shell: Shell) -> None:
    done = shell.batch("-v", shell.script("escapes.py", ESCAPES))
    assert "\x1b" not in done.stdout
    assert "     20%\n     nullbell \ufffd\ufffd \n" in done.stdout
    assert not set(done.stdout) & set("\0\x07\r\x9b")
    assert "title" not in done.stdout


def test_names_with_line_breaks_escapes_and_other_bytes_stay_on_one_line(shell: Shell) -> None:
    script = shell.script(b"bad\n\x1b[2J\xff name.py", FAILS)
    done = shell.batch(script, "-v")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[0].startswith("── bad\\n\\x1b[2J\\xff name.py: raised after ")


@pytest.mark.parametrize("env", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"TERM": "dumb"}])
def test_a_poor_environment_changes_only_how_it_looks(shell: Shell, env: dict[str, str]) -> None:
    script = shell.script(b"caf\xe9.py", "import os\nos.write(1, b'\\xc3\\xa9')\nraise SystemExit(1)\n")
    done = shell.batch(script, "caf\u00e9-missing.py", env={**env, "PYTHONIOENCODING": "", "HOME": ""})
    assert done.returncode == 1
    assert "2 scripts: 2 raised" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "env", "colored"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color"], {"NO_COLOR": "1"}, True),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_obey_the_option_then_no_color_then_force_color(
    shell: Shell, option: list[str], env: dict[str, str], colored: bool
) -> None:
    done = shell.batch(shell.script("a.py"), *option, env=env)
    assert ("\x1b[" in done.stdout) is colored
    assert ("\x1b[" in done.stderr) is colored


def test_a_reader_that_leaves_ends_the_command_quietly_with_141_after_the_scripts_have_run(
    shell: Shell,
) -> None:
    script = shell.script("talks.py", "print('x' * 1_000_000)\nopen('ran', 'a').write('.')\n")
    done = shell.bash(f"$BATCH -v {script} {script} | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert done.stdout == "141\n"
    assert done.stderr == ""
    assert (shell.folder / "ran").read_text() == ".."


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_neither_the_results_nor_the_exit_code(shell: Shell, closed: str) -> None:
    scripts = [shell.script("fine.py"), shell.script("fails.py", FAILS)]
    done = shell.bash(f"$BATCH --results out {' '.join(scripts)} {closed}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (shell.folder / "out" / "001-fine.py" / "stdout").read_text() == "fine\n"
    assert (shell.folder / "out" / "002-fails.py" / "stderr").read_text() == "err\n"


def test_a_closed_descriptor_is_taken_by_the_null_device_and_by_no_file_of_ours(shell: Shell) -> None:
    # Else a notice for standard error would end up in whatever file is opened next.
    show = "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3)), file=open('shown', 'w'))"
    program = f"from orchestrator.cli.streams import repair_standard_streams as repair; repair(); {show}"
    done = shell.bash(f'"$PYTHON" -c "{program}" <&- >&- 2>&-')
    assert done.returncode == 0
    assert (shell.folder / "shown").read_text() == "/dev/null /dev/null /dev/null\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["", "--json", "--dry-run"])
def test_a_report_that_cannot_be_written_exits_with_3_and_says_so(shell: Shell, option: str) -> None:
    done = shell.bash(f"$BATCH {option} {shell.script('fine.py')} >/dev/full")
    assert done.returncode == 3
    assert "could not write to standard output" in done.stderr
    assert ("1 script: 1 ok" in done.stderr) is (option != "--dry-run")
    assert "Traceback" not in done.stderr
