"""The page of GitHub's summary: what it shows, what cannot become markup in it, and how it is cut."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from orchestrator.outcome import Ending
from orchestrator.reports.summary import MOST_BYTES, fenced, plain, summary
from tests.reports.made import failed, named, result, run


def test_the_table_has_the_failures_first_and_the_figures_of_each() -> None:
    page = summary(
        run(
            result(cpu_seconds=0.2, peak_memory=2**21),
            failed(),
            result(Ending.SKIPPED, pid=None, seconds=0.0),
            None,
            replace(failed(), tolerated=True),
            result(Ending.TIMED_OUT, history=(failed(), failed()), return_code=124),
        )
    )
    rows = [line for line in page.splitlines() if line.startswith("|task")]
    assert rows == [
        "|task|ending|exit|attempts|wall|CPU|peak|",
        "|task1|❌ raised|1|1|250 ms|0 ms|0 B|",
        "|task3|💥 no result|-|-|-|-|-|",
        "|task5|💥 timed out|124|3|250 ms|0 ms|0 B|",
        "|task4|⚠️ raised|1|1|250 ms|0 ms|0 B|",
        "|task0|✅ ok|0|1|250 ms|200 ms|2 MB|",
        "|task2|⏭️ skipped|-|-|-|-|-|",
    ]
    assert page.startswith("### 6 tasks&#58; as said\n")


def test_the_last_lines_of_what_failed_stand_in_a_fence() -> None:
    page = summary(run(result(out=b"well\n"), failed(b"".join(b"line %d\n" % n for n in range(30)), out=b"said\n")))
    assert "stdout:\n\n```text\nsaid\n```\n" in page
    assert "```text\nline 10\n" in page
    assert "line 9\n" not in page
    assert "well" not in page
    assert page.count("<details>") == page.count("</details>") == 1


def test_the_trouble_of_the_run_is_told() -> None:
    assert "```text\n- no more\n```\n" in summary(run(result(), trouble="- no more"))


@pytest.mark.parametrize("ticks", ["```", "`" * 30, "~~~\n```"])
def test_no_output_can_end_its_fence(ticks: str) -> None:
    block = fenced(f"before\n{ticks}\n<script>after")
    fence = re.match("`+", block)
    assert fence is not None
    assert block.endswith(f"\n{fence[0]}\n")
    assert fence[0] not in block.removeprefix(fence[0]).removesuffix(f"{fence[0]}\n")


@pytest.mark.parametrize(
    "text", ["a|b", "<img src=x>", "[x](y)", "`x`", "**x**", "@someone", "#12", "www.x.y", "http://x"]
)
def test_names_and_causes_show_as_they_are(text: str) -> None:
    page = summary(named(text, result(Ending.RAISED, reason=f"{text} why")))
    outside = re.sub(r"(?s)```text.*?```", "", page)
    outside = re.sub("&#[0-9]+;", "", outside)
    for mark in "`[]*@<>":
        assert mark not in outside.replace("<details>", "").replace("</details>", "").replace("<summary>", "").replace(
            "</summary>", ""
        )
    assert text not in outside
    assert {line.count("|") for line in outside.splitlines() if line.startswith("|")} == {8}
    assert re.sub("&#([0-9]+);", lambda match: chr(int(match[1])), plain(text)) == text


def test_escapes_of_terminals_do_not_reach_the_page() -> None:
    page = summary(run(failed(b"\x1b[31mred\x1b]0;title\x07 10%\r20%\n\x00\xff\n")))
    assert "```text\nred" in page or "20%" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)


@pytest.mark.parametrize("room", [MOST_BYTES, 100_000, 20_000, 3_000, 600])
def test_the_page_is_cut_between_its_parts_and_says_so(room: int) -> None:
    page = summary(run(*[failed(b"x" * 900 + b"\n" + "é".encode() * 900)] * 1500, result()), room)
    assert 0 < len(page.encode()) <= room
    assert "There was no room for all of it" in page
    assert page.count("<details>") == page.count("</details>")
    assert page.count("```") % 2 == 0
    assert page.endswith("\n")


def test_a_page_that_fits_has_no_note() -> None:
    assert "no room" not in summary(run(*[failed(b"x")] * 50, result()))


def test_without_room_for_the_totals_there_is_no_page() -> None:
    assert summary(run(result()), 50) == ""
    assert summary(run(result()), -5) == ""
