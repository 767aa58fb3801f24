"""What a bridge inside of a CI system prints for each stage: nothing of a stage's can pass for what is ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator import CICDBridge, PipelineConfig
from tests.pipelines.test_stages import stage


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory outside of any CI system."""
    for name in [*os.environ]:
        if name.startswith(("GITHUB_", "GITLAB_", "JENKINS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capfd: pytest.CaptureFixture[str], ci: str, *commands: str) -> list[str]:
    """Run a stage of the commands and return the lines that the bridge has printed."""
    CICDBridge(ci=f"{ci},-annotations,-summary,-junit").run_ci_stage(stage("x", *commands))
    return capfd.readouterr().out.split("\n")


def test_on_github_text_that_ends_within_a_line_takes_no_mark_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    title, opening, text, closing, end, last = printed(capfd, "github", "printf '%s' ::error::forged")
    token = opening.removeprefix("::stop-commands::")
    assert title.startswith("::group::x: ok after ")
    assert [text, closing, end, last] == ["::error::forged", f"::{token}::", "::endgroup::", ""]


def test_on_github_a_stage_that_failed_lies_open_and_one_that_printed_nothing_needs_no_guard(
    capfd: pytest.CaptureFixture[str],
) -> None:
    failed = printed(capfd, "github", "echo seen; exit 3")
    assert any(line.startswith("x: raised after ") for line in failed)
    assert "seen" in failed
    assert not [line for line in failed if "group::" in line]
    assert not [line for line in printed(capfd, "github", "true") if "stop-commands" in line]


def test_what_a_stage_prints_reaches_the_log_without_what_steers_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    for ci in ("github", "gitlab"):
        text = "\n".join(printed(capfd, ci, r"printf '\033[2Jcleared\nsection_end:1:x\r\033[0K\n'"))
        assert "cleared" in text
        assert "\x1b[2J" not in text
        assert "section_end:1:x\r" not in text


def test_on_gitlab_each_stage_is_a_section_of_its_own_with_its_time_and_failures_lie_open(
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = set()
    for commands, mark in (("sleep 1.1", "[collapsed=true]"), ("sleep 1.1; exit 1", "")):
        text = "\n".join(printed(capfd, "gitlab", commands))
        start, _, rest = text.partition("section_start:")[2].partition("\r")[0].partition(":")
        name = rest.removesuffix(mark)
        assert rest == name + mark
        end, _, closed = text.partition("section_end:")[2].partition("\r")[0].partition(":")
        assert closed == name
        assert int(end) > int(start)
        assert name.startswith("x-")
        names.add(name)
    assert len(names) == 2


def test_a_report_that_cannot_be_written_is_told_and_costs_no_result(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "taken").write_text("")
    results = CICDBridge(ci="off", junit=folder / "taken" / "x.xml").run_pipeline(PipelineConfig([stage("x")]))
    assert [result.output for result in results] == ["x\n"]
    assert "could not write" in capfd.readouterr().out
