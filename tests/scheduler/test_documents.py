"""What docs/scheduler.md and the README show of the scheduler runs, and says what is there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import sqlite3
from pathlib import Path

import pytest

import orchestrator
from orchestrator import AsyncScheduler, run_script
from tests.surface.test_documents import blocks, page, section

_ROOT = Path(orchestrator.__file__).parents[1]
_README = section((_ROOT / "README.md").read_text(encoding="utf-8"), "## Scheduler")
_BLOCKS = blocks(page("scheduler.md"), "python")


def _run(block: str, folder: Path) -> list[str]:
    """Run a block as a script in a folder, and return the lines it printed."""
    script = folder / "block.py"
    script.write_text(block, encoding="utf-8")
    result = run_script(script, cwd=folder, env={"PYTHONPATH": str(_ROOT)}, timeout=60)
    assert result.success, result.error
    return result.output.splitlines()


def _said(block: str) -> list[str]:
    """Return what the comments behind its prints say that a block prints."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)


def _defaults(text: str, column: int) -> dict[str, str]:
    """Return the first column of a table and another one, by the names in the first."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| `\w+` \|", line)]
    return {row[0].strip(" `"): row[column].strip(" `").replace('"', "'") for row in rows}


def _real(function: object) -> dict[str, str]:
    assert callable(function)
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: repr(parameter.default) for parameter in parameters if parameter.name != "self"}


@pytest.mark.parametrize("number", range(len(_BLOCKS)))
def test_every_block_of_the_scheduler_page_runs_and_prints_what_it_says(number: int, tmp_path: Path) -> None:
    assert _run(_BLOCKS[number], tmp_path) == _said(_BLOCKS[number])


def test_the_block_of_the_readme_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    (block,) = blocks(_README, "python")
    assert _run(block, tmp_path) == _said(block) != []


def test_the_tables_have_every_option_and_its_default() -> None:
    assert _defaults(section(page("scheduler.md"), "## Terms of a job"), 1) == _real(AsyncScheduler.options)
    head = page("scheduler.md").partition("## Terms of a job")[0]
    assert _defaults(head, 1) == _real(AsyncScheduler)


def test_the_query_of_the_page_shows_the_jobs_that_are_not_done(tmp_path: Path) -> None:
    async def leave_two() -> None:
        async with AsyncScheduler(store=tmp_path / "jobs.db") as scheduler:
            done = await scheduler.submit(len, "abc")
            failed = await scheduler.submit(divmod, 1, 0)
            await scheduler.options(at=4e9, name="later").submit(len, "abc")
            await scheduler.wait(done)
            await scheduler.wait(failed)

    asyncio.run(leave_two())
    (query,) = blocks(page("scheduler.md"), "sql")
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)) as connection:
        failed, later = connection.execute(query).fetchall()
    assert failed[:4] == ("divmod", "failed", 1, 0) and "ZeroDivisionError" in failed[5]
    assert later[:4] == ("later", "queued", 0, 0) and later[4].startswith("2096-10-0")
