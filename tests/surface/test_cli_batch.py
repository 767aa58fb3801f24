"""`orchestrator batch`: what it runs, with which limits, what it reports and which code it exits with."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.surface.shell import Shell

SHOW_ARGUMENTS = "import os, sys\nfor argument in sys.argv[1:]: print(ascii(os.fsencode(argument)))\n"


def test_scripts_that_all_end_well_exit_with_0_and_leave_a_table_and_totals(shell: Shell) -> None:
    done = shell.batch(shell.script("a.py"), shell.script("b.py"), "-j", "2")
    assert done.returncode == 0, done.stderr
    table, totals = done.stdout.split("\n\n")
    assert re.fullmatch(r"script +ending +exit +wall +CPU +peak", table.splitlines()[0])
    rows = [row.split() for row in table.splitlines()[1:]]
    assert sorted(row[:3] for row in rows) == [["a.py", "ok", "0"], ["b.py", "ok", "0"]]
    assert re.fullmatch(r"2 scripts: 2 ok in [\d.]+ m?s \(2 jobs\)\n", totals)
    assert len(done.stderr.splitlines()) == 2


def test_one_script_that_fails_makes_the_exit_code_1_and_shows_the_end_of_its_output(shell: Shell) -> None:
    lines = "import sys\nfor n in range(100): print('line', n)\nprint('why', file=sys.stderr)\nsys.exit(5)\n"
    done = shell.batch(shell.script("fails.py", lines), shell.script("fine.py"))
    assert done.returncode == 1
    section = done.stdout[done.stdout.index("── fails.py: raised") : done.stdout.index("script ")]
    assert "line 99" in section
    assert "line 80" in section
    assert "line 79" not in section
    assert "why" in section
    assert re.search(r"^fails.py +raised +5 ", done.stdout, re.MULTILINE)
    assert "2 scripts: 1 ok, 1 raised in " in done.stdout


def test_the_table_has_the_slowest_script_first(shell: Shell) -> None:
    names = [shell.script(f"{n}.py", f"import time\ntime.sleep({n} * 0.4)\n") for n in (0, 2, 1)]
    done = shell.batch(*names, "-j", "3")
    table = done.stdout.split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in table[1:]] == ["2.py", "1.py", "0.py"]


def test_a_missing_script_fails_with_127_and_the_others_still_run(shell: Shell) -> None:
    done = shell.batch("missing.py", shell.script("fine.py"))
    assert done.returncode == 1
    assert re.search(r"^missing.py +raised +127 ", done.stdout, re.MULTILINE)
    assert re.search(r"^fine.py +ok +0 ", done.stdout, re.MULTILINE)


def test_a_folder_means_the_python_files_directly_in_it_that_are_not_private(shell: Shell) -> None:
    for name in (
        "jobs/b.py",
        "jobs/a.py",
        "jobs/_helper.py",
        "jobs/.hidden.py",
        "jobs/notes.txt",
        "jobs/deep/c.py",
    ):
        shell.script(name)
    assert shell.batch("jobs", "--dry-run").stdout.splitlines()[1:] == ["  jobs/a.py", "  jobs/b.py"]


def test_a_pattern_that_the_shell_left_alone_is_expanded_and_sorted(shell: Shell) -> None:
    for name in ("jobs/b.py", "jobs/a.py", "jobs/deep/c.py", "jobs/[x].py"):
        shell.script(name)
    lines = shell.batch("jobs/?.py", "jobs/**/c.py", "jobs/[x].py", "--dry-run").stdout.splitlines()
    assert lines[1:] == ["  jobs/a.py", "  jobs/b.py", "  jobs/deep/c.py", "  jobs/[x].py"]


def test_a_dry_run_runs_nothing_and_lists_scripts_limits_and_arguments(shell: Shell) -> None:
    script = shell.script("touch.py", "open('touched', 'w')\n")
    options = ["-j2", "--timeout", "1m30s", "--memory", "2G", "--retries", "1", "--dry-run"]
    done = shell.batch(script, "gone.py", *options, "--", "two words")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "would run 2 scripts, 2 at a time, at most 1 m 30 s each, at most 2.0 GB each, up to 1 retry each:",
        "  touch.py: 'two words'",
        "  gone.py: 'two words'  (there is no such file)",
    ]
    assert not (shell.folder / "touched").exists()


def test_all_that_follows_two_dashes_reaches_every_script_as_it_is(shell: Shell) -> None:
    hostile = [
        "--jobs",
        "-x",
        "",
        "two words",
        "a'b\"c",
        "$(id)",
        "new\nline",
        os.fsdecode(b"\xff\xfe"),
        "--",
        "*.py",
    ]
    scripts = [shell.script("one.py", SHOW_ARGUMENTS), shell.script("two.py", SHOW_ARGUMENTS)]
    done = shell.batch(*scripts, "--json", "--", *hostile)
    expected = "".join(f"{os.fsencode(argument)!a}\n" for argument in hostile)
    assert [script["stdout"] for script in json.loads(done.stdout)["scripts"]] == [expected, expected]


def test_the_same_script_given_twice_runs_twice(shell: Shell) -> None:
    script = shell.script("append.py", "open('log', 'a').write('ran\\n')\n")
    done = shell.batch(script, script)
    assert done.returncode == 0
    assert (shell.folder / "log").read_text() == "ran\nran\n"


def test_scripts_run_with_the_variables_and_in_the_folder_asked_for(shell: Shell) -> None:
    script = shell.script("where.py", "import os\nprint(os.getcwd(), os.environ['A'], os.environ['B'] == '')\n")
    (shell.folder / "elsewhere").mkdir()
    done = shell.batch(script, "--cwd", "elsewhere", "--env", "A=x=y", "--env", "B=", "--json")
    (result,) = json.loads(done.stdout)["scripts"]
    assert result["stdout"] == f"{shell.folder / 'elsewhere'} x=y True\n"


def test_a_script_that_runs_too_long_times_out_alone(shell: Shell) -> None:
    hangs = shell.script("hangs.py", "import time\nprint('asleep', flush=True)\ntime.sleep(90)\n")
    done = shell.batch(hangs, shell.script("fine.py"), "--timeout", "500ms", "--grace", "0")
    assert done.returncode == 1
    assert re.search(r"^hangs.py +timed out +124 ", done.stdout, re.MULTILINE)
    assert "asleep" in done.stdout
    assert "2 scripts: 1 ok, 1 timed out in " in done.stdout


def test_a_script_that_uses_too_much_memory_is_stopped(shell: Shell) -> None:
    greedy = shell.script("greedy.py", "import time\nhoard = bytearray(300_000_000)\ntime.sleep(90)\n")
    done = shell.batch(greedy, "--memory", "100M")
    assert done.returncode == 1
    assert re.search(r"^greedy.py +out of memory +137 ", done.stdout, re.MULTILINE)


def test_a_script_that_fails_is_retried_and_the_attempts_are_shown(shell: Shell) -> None:
    flaky = shell.script(
        "flaky.py", "import os, sys\nif not os.path.exists('x'): open('x', 'w'); sys.exit('not yet')\n"
    )
    done = shell.batch(flaky, "--retries", "3")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^script +ending +exit +tries +wall", done.stdout)
    assert re.search(r"^flaky.py +ok +0 +2 ", done.stdout, re.MULTILINE)
    assert re.search(r"retry +raised .* flaky.py +\(attempt 1", done.stderr)


def test_fail_fast_gives_up_the_rest_once_a_script_has_failed(shell: Shell) -> None:
    later = shell.script("later.py", "import time\ntime.sleep(90)\n")
    done = shell.batch(shell.script("fails.py", "raise SystemExit(1)\n"), *[later] * 3, "--fail-fast", "-j2", "--json")
    counts = json.loads(done.stdout)["counts"]
    assert done.returncode == 1
    assert counts.pop("raised") == 1
    assert set(counts) <= {"cancelled", "skipped"}


def test_quiet_shows_only_failures_and_the_totals(shell: Shell) -> None:
    fine, fails = shell.script("fine.py"), shell.script("fails.py", "raise SystemExit('because')\n")
    assert re.fullmatch(r"1 script: 1 ok in [^\n]+\n", shell.batch("-q", fine).stdout)
    done = shell.batch("-q", fine, fails)
    assert done.stderr == ""
    assert done.stdout.startswith("── fails.py: raised")
    assert "because" in done.stdout
    assert not re.search(r"^script ", done.stdout, re.MULTILINE)


def test_verbose_shows_each_output_whole_under_a_heading(shell: Shell) -> None:
    script = shell.script("talks.py", "import sys\nfor n in range(50): print('line', n)\nprint('e', file=sys.stderr)\n")
    done = shell.batch("-v", script)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert re.fullmatch(r"── talks.py: ok after .*", lines[0])
    assert lines[1:54] == ["stdout:", *(f"line {n}" for n in range(50)), "stderr:", "e"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        ("20", "script ending"),
        ("40", "script ending exit wall"),
        ("48", "script ending exit wall peak"),
        ("80", "script ending exit wall CPU peak"),
    ],
)
def test_a_narrow_table_drops_columns_and_cuts_names_instead_of_wrapping(
    shell: Shell, columns: str, headings: str
) -> None:
    script = shell.script("a/long/way/down/to/the/script.py")
    done = shell.batch(script, env={"COLUMNS": columns})
    first, row = done.stdout.split("\n\n")[0].splitlines()
    assert first.split() == headings.split()
    assert row.split()[0].endswith("script.py"[-4:])
    assert max(len(first), len(row)) <= int(columns)


def test_no_scripts_is_a_usage_error_with_an_example(shell: Shell) -> None:
    done = shell.batch()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no scripts given. For example: orchestrator batch" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jbos", "3"], "No such option"),
        (["--timeout", "soon"], "write seconds (90, 1.5) or units (250ms, 90s, 1h30m, 2d)"),
        (["--timeout", "0"], "must be more than zero seconds"),
        (["--timeout", "-1"], "is not a duration"),
        (["--grace", "x"], "is not a duration"),
        (["--memory", "lots"], "write bytes (1048576) or units (512M, 2G)"),
        (["--memory", "9" * 400], "is more memory than there can be"),
        (["--jobs", "0"], "write one from 1 up, a share of the CPUs (50%), or auto"),
        (["--jobs", "many"], "'many' is no number of jobs"),
        (["--retries", "-1"], "write a whole number from 0 up"),
        (["--env", "NAME"], "write NAME=value"),
        (["--cwd", "nowhere"], "'nowhere' does not exist"),
        (["--quiet", "--verbose"], "give either --quiet or --verbose"),
        (["nothing-*.py"], "no file matches 'nothing-*.py'"),
        (["empty"], "no script (*.py, not starting with _) in the folder 'empty'"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_allowed(shell: Shell, arguments: list[str], message: str) -> None:
    (shell.folder / "empty").mkdir()
    done = shell.batch(shell.script("touch.py", "open('touched', 'w')\n"), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "touched").exists()


def test_the_number_of_jobs_comes_from_the_environment_unless_it_is_given(shell: Shell) -> None:
    script = shell.script("a.py")
    env = {"CODOMYRMEX_MAX_WORKERS": "3"}
    assert "4 scripts, 3 at a time" in shell.batch(*[script] * 4, "--dry-run", env=env).stdout
    assert "4 scripts, 2 at a time" in shell.batch(*[script] * 4, "--dry-run", "-j2", env=env).stdout
    assert shell.batch(script, env={"CODOMYRMEX_MAX_WORKERS": "none"}).returncode == 2


def test_the_help_page_has_headings_examples_and_exit_codes(shell: Shell) -> None:
    done = shell.batch("--help")
    assert done.returncode == 0
    for heading in (
        "How to run:",
        "Limits for each script:",
        "What to show and keep:",
        "Examples:",
        "Exit codes:",
    ):
        assert heading in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
