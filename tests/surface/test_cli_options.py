"""What `orchestrator batch` can be asked for: when to give up, limits, what is shown when, matrices, lists."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import loky
import pytest

from tests.surface.shell import DEADLINE_SECONDS, WAITS, Shell, end_of, read_until
from tests.waiting import eventually, is_alive

FAILS = "raise SystemExit(1)\n"
FAILS_ONCE_ANOTHER_RUNS = f"import glob, time\nwhile not glob.glob('started-*'): time.sleep(0.01)\n{FAILS}"
BEGUN = WAITS.replace('print("begun")', 'print("begun", flush=True)')
SHOWS = "import os, sys\nprint(sys.argv[1:], *(f'{n}={os.environ[n]}' for n in sys.argv[0:0] + ['seed', 'size']))\n"


# When to give up


def test_halt_now_stops_what_runs_at_the_first_failure(gate: Shell) -> None:
    waits, fails = gate.script("waits.py", WAITS), gate.script("fails.py", FAILS_ONCE_ANOTHER_RUNS)
    done = gate.batch("--halt", "now,fail=1", "--json", "-j2", "--kill-after", "0.1", waits, fails, waits, waits)
    counts = json.loads(done.stdout)["counts"]
    assert done.returncode == 1
    assert counts.pop("raised") == 1
    assert sum(counts.values()) == 3 and set(counts) == {"cancelled", "skipped"}
    assert not any(map(is_alive, gate.waiting()))


def test_halt_soon_lets_what_runs_end_and_starts_no_more(gate: Shell) -> None:
    waits, fails = gate.script("waits.py", WAITS), gate.script("fails.py", FAILS_ONCE_ANOTHER_RUNS)
    process = gate.start("--halt", "soon,fail=1", "--json", "-j2", waits, fails, gate.script("later.py"))
    assert "raised" in read_until(process.stderr, "fails.py\n")
    gate.release()
    assert json.loads(end_of(process).stdout)["counts"] == {"ok": 1, "raised": 1, "skipped": 1}


@pytest.mark.parametrize(
    ("options", "endings"),
    [
        (["--halt", "soon,fail=2"], "raised ok raised skipped skipped"),
        (["--halt", "soon,fail=60%"], "raised ok raised ok raised"),
        (["--halt", "soon,fail=20%"], "raised ok raised skipped skipped"),
        (["--keep-going"], "raised ok raised ok raised"),
    ],
)
def test_so_many_failures_or_such_a_share_are_borne(shell: Shell, options: list[str], endings: str) -> None:
    fails, fine = shell.script("fails.py", FAILS), shell.script("fine.py")
    done = shell.batch(*options, "--json", "-j1", fails, fine, fails, fine, fails)
    assert [script["ending"] for script in json.loads(done.stdout)["scripts"]] == endings.split()
    assert done.returncode == 1


# Limits and jobs


@pytest.mark.parametrize(("jobs", "share"), [("auto", 1.0), ("50%", 0.5), ("400%", 4.0), ("0.1%", 0.0)])
def test_jobs_may_be_a_share_of_the_cpus(shell: Shell, jobs: str, share: float) -> None:
    script = shell.script("a.py")
    expected = max(1, round(loky.cpu_count() * share))
    done = shell.batch("-n", "-j", jobs, *[script] * 100)
    assert done.stdout.startswith(f"would run 100 scripts, {min(100, expected)} at a time:")


def test_a_share_of_the_median_time_stops_a_script_that_takes_much_longer_than_the_others(shell: Shell) -> None:
    fine, hangs = shell.script("fine.py"), shell.script("hangs.py", "import time\ntime.sleep(600)\n")
    done = shell.batch("-j1", "--timeout", "1000%", "--kill-after", "0.1", fine, fine, fine, hangs)
    assert done.returncode == 1
    assert re.search(r"^hangs.py +timed out +124 ", done.stdout, re.MULTILINE)
    assert "4 scripts: 3 ok, 1 timed out" in done.stdout


def test_a_script_that_is_asked_to_stop_has_the_time_that_kill_after_says(shell: Shell) -> None:
    polite = (
        "import signal, time\ndef end(*_): time.sleep(1.5); print('bye'); raise SystemExit\nsignal.signal(15, end)\n"
    )
    done = shell.batch(
        "--timeout", "500ms", "--kill-after", "60", "--json", shell.script("polite.py", f"{polite}time.sleep(600)\n")
    )
    (script,) = json.loads(done.stdout)["scripts"]
    assert (script["ending"], script["stdout"]) == ("timed out", "bye\n")


# What is shown, and when


def test_tag_puts_the_name_before_every_line_of_both_streams_and_the_report_on_standard_error(shell: Shell) -> None:
    text = "import os, sys\nprint('one\\n\\ntwo', end='')\nos.write(2, b'why\\xff\\n')\n"
    done = shell.batch("--tag", shell.script("talks.py", text), shell.script("a b.py"), "-j1")
    assert done.stdout == "talks.py\tone\ntalks.py\t\ntalks.py\ttwo\na b.py\tfine\n"
    assert done.stderr.startswith("talks.py\twhy\udcff\n")
    assert "2 scripts: 2 ok" in done.stderr


def test_lines_come_before_the_script_ends_and_never_in_pieces(gate: Shell) -> None:
    halves = "import os\nos.write(1, b'first\\nbe')\n" + WAITS.replace('print("begun")', "") + "print('gun')\n"
    process = gate.start("--line-buffer", "--tag", gate.script("a.py", halves))
    assert read_until(process.stdout, "first\n") == "a.py\tfirst\n"
    gate.release()
    done = end_of(process)
    assert (done.returncode, done.stdout) == (0, "a.py\tbegun\n")
    assert "1 script: 1 ok" in done.stderr


def test_what_an_attempt_began_to_print_is_no_part_of_the_next_ones_line(shell: Shell) -> None:
    flaky = (
        "import os\nif not os.path.exists('x'): open('x', 'w'); print('part', end=''); raise SystemExit(4)\nprint('ok')"
    )
    done = shell.batch("--line-buffer", "--retries", "1", shell.script("flaky.py", flaky))
    assert done.stdout == "part\nok\n"


@pytest.mark.parametrize(("keep", "shown"), [([], ["quick", "next", "waits"]), (["-k"], ["waits", "quick", "next"])])
def test_keep_order_shows_output_in_the_order_of_the_scripts(gate: Shell, keep: list[str], shown: list[str]) -> None:
    scripts = [gate.script("waits.py", BEGUN), gate.script("quick.py")]
    process = gate.start(*keep, "--tag", "-j2", *scripts, gate.script("next.py", "open('ran', 'w')\nprint('fine')\n"))
    seen = "" if keep else read_until(process.stdout, "next.py\tfine\n")
    eventually((gate.folder / "ran").exists, DEADLINE_SECONDS, "the last has run")
    eventually(gate.waiting, DEADLINE_SECONDS, "the first runs")
    gate.release()
    done = end_of(process)
    assert [line.partition(".")[0] for line in (seen + done.stdout).splitlines()] == shown
    assert done.returncode == 0


def test_jsonl_tells_what_happens_as_it_happens_and_ends_with_the_run_as_a_whole(gate: Shell) -> None:
    flaky = (
        f"import os\nif not os.path.exists('x'): open('x', 'w'); raise SystemExit(4)\nos.write(2, b'caf\\xe9')\n{WAITS}"
    )
    process = gate.start("--jsonl", "--retries", "1", gate.script("flaky.py", flaky))
    seen = read_until(process.stdout, '"attempt": 2')
    gate.release()
    done = end_of(process)
    events = [json.loads(line) for line in (seen + done.stdout).splitlines()]
    told = [(event["event"], event.get("name"), event.get("attempt")) for event in events]
    assert told == [
        ("started", "flaky.py", 1),
        ("retrying", "flaky.py", None),
        ("started", "flaky.py", 2),
        ("finished", "flaky.py", None),
        ("ended", None, None),
    ]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert (events[1]["return_code"], events[1]["delay_seconds"]) == (4, 0)
    assert (events[3]["attempts"], events[3]["stderr"], events[3]["stdout"]) == (2, "caf\ufffd", "begun\n")
    ended = events[-1]
    assert (ended["success"], ended["exit_code"], ended["counts"], ended["jobs"]) == (True, 0, {"ok": 1}, 1)
    assert "1 script: 1 ok" in done.stderr


def test_jsonl_with_line_buffer_has_the_output_as_it_comes_and_no_character_in_pieces(gate: Shell) -> None:
    """O4"""
    halves = (
        "import os\nos.write(1, b'caf\\xc3')\n"
        + WAITS.replace('print("begun")', "")
        + "os.write(1, b'\\xa9\\xff\\n')\n"
    )
    process = gate.start("--jsonl", "--line-buffer", gate.script("halves.py", halves))
    seen = read_until(process.stdout, '"caf')
    gate.release()
    done = end_of(process)
    events: list[dict[str, Any]] = [json.loads(line) for line in (seen + done.stdout).splitlines()]
    names = [event["event"] for event in events]
    assert names == ["started", *["printed"] * (len(names) - 3), "finished", "ended"]
    printed = [event for event in events if event["event"] == "printed"]
    assert "".join(event["text"] for event in printed) == events[-2]["stdout"] == "caf\u00e9\ufffd\n"
    assert {(event["stream"], event["name"]) for event in printed} == {("stdout", "halves.py")}


def test_a_run_that_a_signal_stops_still_ends_its_lines_of_json(gate: Shell) -> None:
    process = gate.start("--jsonl", gate.script("waits.py", WAITS), "--kill-after", "0.1")
    eventually(gate.waiting, DEADLINE_SECONDS, "the script runs")
    process.send_signal(signal.SIGTERM)
    done = end_of(process)
    ended = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == ended["exit_code"] == 143
    assert (ended["event"], ended["stopped_by"], ended["counts"]) == ("ended", "SIGTERM", {"cancelled": 1})


# Matrices


def test_a_matrix_runs_every_combination_with_options_and_variables_of_its_own(shell: Shell) -> None:
    axes = ["--matrix", "seed=1,2", "--matrix", "size=a b,$x"]
    done = shell.batch(*axes, "--json", "-j1", shell.script("shows.py", SHOWS), "--", "-v")
    scripts = json.loads(done.stdout)["scripts"]
    combinations = [(seed, size) for seed in "12" for size in ("a b", "$x")]
    assert [script["name"] for script in scripts] == [f"shows.py seed={a} size={b}" for a, b in combinations]
    assert [script["stdout"] for script in scripts] == [
        f"{['--seed', a, '--size', b, '-v']} seed={a} size={b}\n" for a, b in combinations
    ]


def test_placeholders_in_the_arguments_take_the_place_of_options(shell: Shell) -> None:
    axes = ["--matrix", "seed=1,2", "--matrix", "size=10"]
    done = shell.batch(*axes, "-n", shell.script("a.py"), shell.script("b.py"), "--", "--out={seed}-{seed}.csv", "{x}")
    assert done.stdout.splitlines()[1:] == [
        f"  {name}.py seed={seed} size=10: --size 10 --out={seed}-{seed}.csv '{{x}}'" for name in "ab" for seed in "12"
    ]


# Lists


def test_a_list_has_a_script_with_its_arguments_on_each_line(shell: Shell) -> None:
    for name in ("a.py", "with space.py", "odd 'name.py"):
        shell.script(name)
    lines = ["a.py 'two words' \"it's\" \\$x  # why", "", "  # nothing", "with space.py", "odd 'name.py", "a.py"]
    (shell.folder / "list").write_text("\n".join(lines))
    expected = [
        "  a.py two words it's $x: 'two words' 'it'\"'\"'s' '$x' last",
        "  with space.py: last",
        "  odd 'name.py: last",
        "  a.py: last",
    ]
    text = "\n".join(lines).encode()
    assert shell.batch("-n", "--from-file", "list", "--", "last").stdout.splitlines()[1:] == expected
    assert shell.batch("-n", "-", "--", "last", feed=text).stdout.splitlines()[1:] == expected
    both = shell.batch("-n", "a.py", "-a", "-", "-a", "list", feed=b"a.py first\n").stdout.splitlines()
    assert len(both) == 1 + 2 + 4 and both[2] == "  a.py first: first"


def test_a_list_that_ends_its_paths_in_nul_is_taken_as_it_is(shell: Shell) -> None:
    names = [shell.script(name) for name in (b"new\nline.py", b"caf\xe9.py", b"# 'quote.py", b" a.py")]
    text = b"\0".join(map(str.encode, [n for n in names if n.isascii()])) + b"\0caf\xe9.py\0"
    for options in (["-0", "-"], ["-"]):
        done = shell.batch(*options, "--json", feed=text)
        assert json.loads(done.stdout)["counts"] == {"ok": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.py\n\na.py 'open\n", "'list', line 3: No closing quotation: \"a.py 'open\""),
        ("a.py\na.py \\", "'list', line 2: No escaped character"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_nothing_is_run(shell: Shell, text: str, said: str) -> None:
    shell.files(list=text)
    shell.script("a.py", "open('ran', 'w')\n")
    done = shell.batch("-a", "list", "a.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "standard input, line 1" in shell.batch("-", feed=b"'").stderr
    assert not (shell.folder / "ran").exists()


def test_an_empty_list_is_no_mistake(shell: Shell) -> None:
    done = shell.batch("-", feed=b"\n# none\n")
    assert done.returncode == 0
    assert "no scripts" in done.stdout


# Contradictions and mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--halt now,fail=1 --fail-fast", "give either --halt or --fail-fast, not both"),
        ("--halt at-once", "write now,fail=1 (stop what runs), soon,fail=3 (let it end) or soon,fail=10%"),
        ("--halt now,fail=0", "does not say when to halt"),
        ("--halt soon,fail=101%", "does not say when to halt"),
        ("--json --jsonl", "give either --json or --jsonl, not both"),
        ("--json --tag", "give either --json or --tag"),
        ("--json --line-buffer", "give either --json or --line-buffer"),
        ("--line-buffer -k", "give either --line-buffer or --keep-order"),
        ("-v --tag", "give either --verbose or --tag"),
        ("--timeout 100%", "write more than 100%"),
        ("--jobs 0%", "is no number of jobs"),
        ("--jobs -5%", "is no number of jobs"),
        ("--matrix seed", "write NAME=first,second"),
        ("--matrix 1=a,b", "write NAME=first,second"),
        ("--matrix a=1,,2", "write NAME=first,second"),
        ("--matrix a=1,1", "names a value twice"),
        ("--matrix a=1 --matrix b=1 --matrix a=2", "there are two axes 'a': write all values in one"),
        ("-a nowhere", "cannot read the list of scripts from 'nowhere': No such file"),
        ("--config nowhere.toml", "nowhere.toml: cannot be read"),
    ],
)
def test_what_contradicts_itself_or_makes_no_sense_exits_with_2(shell: Shell, options: str, said: str) -> None:
    done = shell.batch(*options.split(), shell.script("touch.py", "open('touched', 'w')\n"))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "touched").exists()


def test_a_learnt_limit_and_one_of_its_own_both_hold(shell: Shell) -> None:
    table = "# /// script\n# [tool.orchestrator]\n# timeout = 0.3\n# ///\n"
    done = shell.batch("--json", "--timeout", "300%", shell.script("hangs.py", f"{table}import time\ntime.sleep(60)\n"))
    assert json.loads(done.stdout)["counts"] == {"timed out": 1}


def test_a_script_whose_retry_is_given_up_keeps_the_output_of_its_last_attempt(gate: Shell) -> None:
    fails, waits = gate.script("fails.py", "print('OUTPUT')\nraise SystemExit(1)\n"), gate.script("waits.py", WAITS)
    process = gate.start("-j1", "--retries", "3", "--results", "out", "--json", fails, waits)
    eventually(gate.waiting, DEADLINE_SECONDS, "the second script runs, before the first is tried again")
    process.send_signal(signal.SIGHUP)
    read_until(process.stderr, "stopping")
    gate.release()
    failed, _ = json.loads(end_of(process).stdout)["scripts"]
    assert (failed["stdout"], failed["return_code"]) == ("OUTPUT\n", 1)
    assert failed["pid"] is not None
    assert (gate.folder / "out/001-fails.py/stdout").read_text() == "OUTPUT\n"
