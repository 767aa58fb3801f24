"""Sections of GitLab's job log: what is folded, under which heading, and how long it took.

The markers are those of "Custom collapsible sections" in GitLab's documentation. They hold escape sequences, so text
that was neutralised (`orchestrator.wording.neutral`) can hold none.
"""

from __future__ import annotations

import re

_CLEAR = "\x1b[0K"


def section_name(text: str, mark: str) -> str:
    """Return a name as GitLab allows it: letters, digits, `_`, `.` and `-`; `mark` makes it one of a kind in its job.

    >>> section_name("jobs/count all.py", "7f3a")
    'jobs_count_all.py-7f3a'
    """
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', text)[:60]}-{mark}"


def section(name: str, title: str, *, started: float, ended: float, collapsed: bool) -> tuple[str, str]:
    """Return what stands before and after the lines of a section; the times are seconds since 1970.

    GitLab shows the difference of the times beside the title, and folds the section if it is `collapsed`.
    """
    options = "[collapsed=true]" if collapsed else ""
    opening = f"{_CLEAR}section_start:{int(started)}:{name}{options}\r{_CLEAR}{title}\n"
    return opening, f"{_CLEAR}section_end:{int(ended)}:{name}\r{_CLEAR}\n"
