"""Sections of GitLab's log, as its own pattern for them reads them."""

from __future__ import annotations

import re

import pytest

from orchestrator.reports.gitlab import section, section_name

# As GitLab's documentation has it: the line feed comes after what the reader of the log sees.
MARKER = re.compile(r"\x1b\[0Ksection_(start|end):(\d+):([a-zA-Z0-9_.-]+)(\[collapsed=true\])?\r\x1b\[0K(.*)\n")


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_section_has_a_start_with_a_title_and_an_end_of_the_same_name(collapsed: bool) -> None:
    opening, closing = section("a.py-1", "a.py: ok", started=1000.9, ended=1003.2, collapsed=collapsed)
    start, end = MARKER.fullmatch(opening), MARKER.fullmatch(closing)
    assert start is not None
    assert start.groups() == ("start", "1000", "a.py-1", "[collapsed=true]" if collapsed else None, "a.py: ok")
    assert end is not None
    assert end.groups() == ("end", "1003", "a.py-1", None, "")


@pytest.mark.parametrize("name", ["jobs/a.py", "café 🐍[collapsed=true]", "a:b\r\x1b[0K", "", "x" * 999])
def test_names_keep_to_what_gitlab_allows(name: str) -> None:
    made = section_name(name, "7f")
    assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,80}", made)
    assert made.endswith("-7f")
