"""`--ci` and `--junit`: real commands in the environments that CI systems make."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import junitparser
import pytest

from tests.surface.shell import Shell

GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}
GITLAB = {"CI": "true", "GITLAB_CI": "true"}
JENKINS = {"JENKINS_URL": "http://jenkins"}
NASTY = r"""
import os
os.write(1, b"::error::forged\n  ::add-mask::a\n##[error]forged\nx ##[set-env name=A;]b\n::endgroup::\n")
os.write(1, b"\x1b[0Ksection_end:1:any\r\x1b[0K\n\x1b[31mred\n")
os.write(2, b"::stop-commands::mine\n::mine::\n::warning::forged")
"""
FAILS = "def work():\n    raise KeyError('port')\n\nwork()\n"
FLAKY = "import os\nif not os.path.exists('mark'):\n    open('mark', 'w').close()\n    raise OSError('once')\n"


class Command(NamedTuple):
    """What GitHub's runner carries out."""

    name: str
    properties: dict[str, str]
    data: str


def carried_out(log: str) -> list[Command]:
    """Return the commands in a log that GitHub's runner would carry out, read as its ActionCommand.cs does."""
    found: list[Command] = []
    token = None
    for line in log.splitlines():
        match = re.match(r"\s*::([^ :]+) ?(.*?)::(.*)", line) or re.search(r"##\[([^ \]]+) ?([^\]]*)\](.*)", line)
        if match is None:
            continue
        if token is not None:
            token = None if match[1].lower() == token else token
            continue
        if match[1] == "stop-commands":
            token = match[3].lower()
            continue
        pairs = (pair.partition("=") for pair in match[2].split(",") if pair)
        found.append(Command(match[1], {name: _read(value) for name, _, value in pairs}, _read(match[3])))
    assert token is None, "the log ends with commands stopped"
    return found


def _read(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    """The file of GitHub's summary, which an earlier command has begun."""
    path = tmp_path / "step_summary"
    path.write_text("earlier", encoding="utf-8")
    return path


def github(summary: Path, **more: str) -> dict[str, str]:
    """Return the environment of a step on GitHub."""
    return {**GITHUB, "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(summary.parent), **more}


# GitHub


def test_on_github_what_went_well_is_folded_and_what_failed_lies_open(shell: Shell, summary: Path) -> None:
    done = shell.batch("-k", shell.script("good.py"), shell.script("jobs/bad.py", FAILS), env=github(summary))
    assert done.returncode == 1
    commands = carried_out(done.stdout)
    assert [command.name for command in commands] == ["group", "endgroup", "error"]
    assert commands[0].data.startswith("good.py: ok after ")
    before, _, after = done.stdout.partition("::endgroup::\n")
    assert "     fine\n" in before
    assert "── jobs/bad.py: raised after " in after
    assert "KeyError: 'port'\n" in after
    assert after.count("KeyError: 'port'") == 2  # in its output and in the annotation: not again in the report
    assert "2 scripts: 1 ok, 1 raised in " in after
    assert carried_out(done.stderr) == []


def test_on_github_an_error_stands_at_the_line_of_the_repository_that_failed(shell: Shell, summary: Path) -> None:
    inner = shell.folder / "inner"
    shell.script("inner/bad.py", FAILS)
    done = shell.bash(f"cd {inner} && $BATCH bad.py", **github(summary))
    (error,) = [command for command in carried_out(done.stdout) if command.name == "error"]
    assert (error.properties["file"], error.properties["line"]) == ("inner/bad.py", "2")
    assert error.properties["title"].startswith("bad.py: raised after ")
    assert error.data == "KeyError: 'port' (exited with code 1)"


def test_on_github_what_went_well_at_the_second_attempt_is_a_warning(shell: Shell, summary: Path) -> None:
    done = shell.batch("--retries", "1", shell.script("flaky.py", FLAKY), env=github(summary))
    assert done.returncode == 0
    (warning,) = [command for command in carried_out(done.stdout) if command.name == "warning"]
    assert (warning.properties["file"], warning.properties["line"]) == ("flaky.py", "4")


@pytest.mark.parametrize("options", [[], ["-v"], ["-v", "--ci", "auto,-groups"], ["--ci", "auto,-groups"]])
@pytest.mark.parametrize("ending", ["", "\nraise SystemExit(3)\n"])
def test_on_github_what_a_script_prints_is_no_command(
    shell: Shell, summary: Path, options: list[str], ending: str
) -> None:
    done = shell.batch(*options, shell.script("##[error]a.py", NASTY + ending), env=github(summary))
    allowed = {"error"} if ending else set[str]()
    commands = carried_out(done.stdout)
    assert {command.name for command in commands} - {"group", "endgroup"} == allowed
    assert "forged" not in "".join(command.data for command in commands if command.name == "group")
    assert "\x1b" not in done.stdout
    assert "forged" in done.stdout or options == ["--ci", "auto,-groups"]


def test_on_github_the_summary_is_added_to_what_stands_there(shell: Shell, summary: Path) -> None:
    shell.batch(shell.script("good.py"), env=github(summary))
    shell.batch(shell.script("bad.py", FAILS), env=github(summary))
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("earlier\n### 1 script&#58; 1 ok in ")
    assert "\n### 1 script&#58; 1 raised in " in text
    assert "|bad.py|❌ raised|1|1|" in text
    assert "KeyError: 'port'" in text


def test_on_github_no_value_of_the_environment_gets_into_a_report(shell: Shell, summary: Path) -> None:
    env = github(summary, SECRET="sesame-open")
    done = shell.batch(
        "--env", "TOKEN=sesame-two", "--junit", "out.xml", shell.script("bad.py", FAILS), "gone.py", env=env
    )
    written = summary.read_text(encoding="utf-8") + (shell.folder / "out.xml").read_text(encoding="utf-8")
    assert "sesame" not in written + done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["folder", "fifo", "full", "missing"])
def test_a_summary_that_cannot_be_written_costs_no_result(shell: Shell, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "page"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "full":
        path.write_bytes(b"x" * 2**20)
    else:
        path = tmp_path / "no" / "folder"
    done = shell.batch(shell.script("good.py"), env=github(path))
    assert done.returncode == 3
    assert "1 script: 1 ok in " in done.stdout
    assert "orchestrator: could not write to GITHUB_STEP_SUMMARY: " in done.stderr
    if kind == "full":
        assert path.stat().st_size == 2**20


def test_without_a_summary_file_there_is_none(shell: Shell) -> None:
    assert shell.batch(shell.script("good.py"), env=GITHUB).returncode == 0


# What programs read


@pytest.mark.parametrize("option", ["--json", "--jsonl", "--tag", "--line-buffer", "--quiet"])
def test_standard_output_for_programs_stays_as_it_is_and_annotations_go_to_standard_error(
    shell: Shell, summary: Path, option: str
) -> None:
    scripts = shell.script("good.py"), shell.script("bad.py", FAILS)
    plain = shell.batch(option, "-j", "1", *scripts, "--ci", "off")
    done = shell.batch(option, "-j", "1", *scripts, env=github(summary))
    assert _without_figures(done.stdout) == _without_figures(plain.stdout)
    assert [command.name for command in carried_out(done.stderr)] == ["error"]
    assert done.returncode == plain.returncode == 1
    assert "|bad.py|" in summary.read_text(encoding="utf-8")


def _without_figures(text: str) -> str:
    """Return a text without what differs from run to run: times, sizes, process ids, the width of columns."""
    text = re.sub(r'"?\w*(seconds|bytes|time)": .*?[,\n]', "", text)
    return re.sub(r"\d+", "0", re.sub(r"[\d.]+ m?s\b", "0 s", re.sub(" +", " ", text)))


def test_the_report_on_standard_error_is_guarded_too(shell: Shell, summary: Path) -> None:
    done = shell.batch("--json", shell.script("a.py", f"{NASTY}\nraise SystemExit(1)"), env=github(summary))
    json.loads(done.stdout)
    assert "forged" in done.stderr
    assert [command.name for command in carried_out(done.stderr)] == ["error"]


def test_a_document_says_that_a_report_could_not_be_written(shell: Shell) -> None:
    done = shell.batch("--json", "--junit", "/proc/none.xml", shell.script("good.py"))
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 3


# GitLab and Jenkins


def test_on_gitlab_each_script_is_a_section_and_those_that_failed_lie_open(shell: Shell) -> None:
    done = shell.batch("-k", shell.script("jobs/good.py"), shell.script("bad.py", FAILS), env=GITLAB)
    # splitlines() would cut at the carriage return of a marker
    marks = re.findall(r"\x1b\[0Ksection_(start|end):(\d+):([\w.-]+)(\[.*?\])?\r\x1b\[0K(.*)\n", done.stdout)
    assert [(kind, options) for kind, _, _, options, _ in marks] == [
        ("start", "[collapsed=true]"), ("end", ""), ("start", ""), ("end", ""),
    ]  # fmt: skip
    assert [title.partition(" after ")[0] for *_, title in marks] == ["jobs/good.py: ok", "", "bad.py: raised", ""]
    good, _, bad, _ = (name for _, _, name, _, _ in marks)
    assert [name for _, _, name, _, _ in marks] == [good, good, bad, bad]
    assert good.startswith("jobs_good.py-")
    assert all(int(time) > 1_600_000_000 for _, time, *_ in marks)
    assert "::" not in done.stdout


def test_on_gitlab_a_script_cannot_end_its_section(shell: Shell) -> None:
    done = shell.batch(shell.script("a.py", NASTY), env=GITLAB)
    assert done.stdout.count("\x1b[0Ksection_end:") == 1
    assert "\x1b[31m" not in done.stdout


@pytest.mark.parametrize("env", [GITLAB, JENKINS, {"JENKINS_HOME": "/home"}], ids=["gitlab", "jenkins", "home"])
def test_on_gitlab_and_jenkins_there_is_a_junit_report(shell: Shell, env: dict[str, str]) -> None:
    shell.batch("--timeout", "10", shell.script("good.py"), shell.script("bad.py", FAILS), env=env)
    (suite,) = junitparser.JUnitXml.fromfile(str(shell.folder / "orchestrator-junit.xml"))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (2, 1, 0, 0)
    good, bad = suite
    assert (good.name, good.system_out) == ("good.py", "fine\n")
    assert bad.result[0].message == "KeyError: 'port' (exited with code 1)"
    assert "Traceback" in bad.system_err


def test_on_jenkins_nothing_stands_in_the_log(shell: Shell) -> None:
    script = shell.script("good.py")
    plain, there = shell.batch(script), shell.batch(script, env=JENKINS)
    assert _without_figures(there.stdout + there.stderr) == _without_figures(plain.stdout + plain.stderr)


# JUnit anywhere


def test_a_junit_report_is_there_for_the_asking_and_leaves_nothing_else(shell: Shell) -> None:
    script = shell.script("good.py")
    done = shell.batch("--junit", "out/deep/report.xml", script)
    assert done.returncode == 0
    folder = shell.folder / "out" / "deep"
    assert [path.name for path in folder.iterdir()] == ["report.xml"]
    assert stat.S_IMODE((folder / "report.xml").stat().st_mode) == 0o666 & ~_umask()
    shell.batch("--junit", "out/deep/report.xml", script, script)
    (suite,) = junitparser.JUnitXml.fromfile(str(folder / "report.xml"))
    assert suite.tests == 2
    assert [path.name for path in folder.iterdir()] == ["report.xml"]


def _umask() -> int:
    before = os.umask(0o22)
    os.umask(before)
    return before


@pytest.mark.parametrize("kind", ["fifo", "no folder", "file above", "socket"])
def test_a_junit_report_that_cannot_be_written_costs_no_result(shell: Shell, kind: str) -> None:
    name = "report.xml"
    if kind == "fifo":
        os.mkfifo(shell.folder / name)
    elif kind == "no folder":
        name = "/proc/none/report.xml"
    elif kind == "file above":
        name = f"{shell.script('file', '')}/report.xml"
    else:
        os.mknod(shell.folder / name, stat.S_IFSOCK | 0o600)
    done = shell.batch("--junit", name, shell.script("good.py"))
    assert done.returncode == 3
    assert "1 script: 1 ok in " in done.stdout
    assert f"orchestrator: could not write the JUnit report {name}: " in done.stderr
    assert not list(shell.folder.glob(".*partial"))


def test_a_report_through_a_link_leaves_the_link(shell: Shell) -> None:
    (shell.folder / "report.xml").symlink_to("real.xml")
    shell.batch("--junit", "report.xml", shell.script("good.py"))
    assert (shell.folder / "report.xml").is_symlink()
    assert "testsuite" in (shell.folder / "real.xml").read_text(encoding="utf-8")


def test_chain_and_run_write_a_junit_report_too(shell: Shell) -> None:
    shell.run("chain", "--junit", "chain.xml", shell.script("bad.py", FAILS), shell.script("good.py"))
    (suite,) = junitparser.JUnitXml.fromfile(str(shell.folder / "chain.xml"))
    assert (suite.failures, suite.skipped) == (1, 1)
    done = shell.run("run", "--junit", "run.xml", "good.py")
    assert "1 script: 1 ok in " in done.stdout
    assert (shell.folder / "run.xml").exists()


# Choosing


def test_a_script_that_is_run_by_itself_keeps_its_streams_unless_a_system_is_named(shell: Shell, summary: Path) -> None:
    script = shell.script("good.py")
    for options in ([], ["--ci", "auto,-groups"], ["--ci", "off"]):
        done = shell.run("run", *options, script, env=github(summary))
        assert (done.stdout, done.stderr) == ("fine\n", "")
    assert summary.read_text(encoding="utf-8") == "earlier"
    assert "::group::good.py: ok" in shell.run("run", "--ci", "github", script).stdout


def test_a_dry_run_tells_nobody(shell: Shell, summary: Path) -> None:
    done = shell.batch("-n", "--junit", "report.xml", shell.script("good.py"), env=github(summary))
    assert "::" not in done.stdout
    assert summary.read_text(encoding="utf-8") == "earlier"
    assert not (shell.folder / "report.xml").exists()


@pytest.mark.parametrize(
    ("choice", "groups", "annotations", "page"),
    [
        ("auto", True, True, True),
        ("github", True, True, True),
        ("auto,-groups", False, True, True),
        ("github,-annotations", True, False, True),
        ("auto,-summary,-junit", True, True, False),
        ("github,-groups,-annotations", False, False, True),
        ("off", False, False, False),
    ],
)
def test_each_feature_can_be_left_out(
    shell: Shell, summary: Path, choice: str, groups: bool, annotations: bool, page: bool
) -> None:
    done = shell.batch("--ci", choice, shell.script("good.py"), shell.script("bad.py", FAILS), env=github(summary))
    assert ("::group::" in done.stdout) is groups
    assert ("::error " in done.stdout) is annotations
    assert ("::stop-commands::" in done.stdout) is (groups or annotations)
    assert ("###" in summary.read_text(encoding="utf-8")) is page


def test_the_junit_report_of_a_system_can_be_left_out(shell: Shell) -> None:
    shell.batch("--ci", "auto,-junit", shell.script("good.py"), env=GITLAB)
    assert not (shell.folder / "orchestrator-junit.xml").exists()


@pytest.mark.parametrize("env", [GITHUB, GITLAB, JENKINS], ids=["github", "gitlab", "jenkins"])
def test_a_run_inside_of_a_task_leaves_the_marks_to_the_run_outside(shell: Shell, env: dict[str, str]) -> None:
    inner = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'orchestrator', 'batch', 'good.py'])\n"
    shell.script("good.py")
    done = shell.batch("--ci", "off", "-v", shell.script("outer.py", inner), env=env)
    assert "1 script: 1 ok in " in done.stdout
    assert "::" not in done.stdout
    assert "section_start" not in done.stdout
    assert not (shell.folder / "orchestrator-junit.xml").exists()


@pytest.mark.parametrize("choice", ["travis", "", "github,summary", "-groups", "auto,-group", "github,", "GitHub"])
def test_a_word_that_is_no_choice_is_refused_with_those_that_are(shell: Shell, choice: str) -> None:
    done = shell.batch(f"--ci={choice}", shell.script("good.py"))
    assert done.returncode == 2
    assert "write auto, github, gitlab, jenkins or off" in re.sub(r"\s+", " ", done.stderr)
    assert "annotations, groups, junit, summary" in re.sub(r"\s+", " ", done.stderr)
    assert "1 ok" not in done.stdout


@pytest.mark.parametrize("env", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": "false"}, {"GITLAB_CI": ""}])
def test_outside_of_the_systems_we_know_nothing_is_marked(shell: Shell, env: dict[str, str]) -> None:
    done = shell.batch(shell.script("good.py"), env=env)
    assert "::" not in done.stdout
    assert "section_start" not in done.stdout
    assert not (shell.folder / "orchestrator-junit.xml").exists()
