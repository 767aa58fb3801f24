"""docs/pipelines.md says what is there: its Python runs, its file is one, its table of keys is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

import orchestrator
from orchestrator import run_script
from orchestrator.pipelines.actions.functions import FUNCTIONS, STATUS_FUNCTIONS
from orchestrator.pipelines.actions.keys import KEYS
from orchestrator.pipelines.files import read_pipeline

_ROOT = Path(orchestrator.__file__).parents[1]
_PAGE = (_ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def test_the_python_of_the_page_runs_and_ends_as_it_says(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(_blocks("python")), encoding="utf-8")
    result = run_script(script, cwd=tmp_path, env={"PYTHONPATH": str(_ROOT)}, timeout=60)
    assert result.output.splitlines() == [
        "build ok 0 2",
        "unit ok 0 1",
        "lint raised 1 1",
        "ship ok 0 1",
        "mourn skipped 1 0",
        "[['build'], ['unit', 'lint'], ['ship'], ['mourn']]",
        "hello world",
        "",
    ], result.error


def test_the_file_of_the_page_is_a_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yml"
    path.write_text(_blocks("yaml")[0], encoding="utf-8")
    assert [stage.name for stage in read_pipeline(path).stages] == ["build", "unit", "lint", "ship"]


def test_the_table_has_every_key_of_a_workflow_file_with_its_verdict() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (supported|no-op|skipped|refused) \| (.*) \|$", _PAGE, re.MULTILINE)
    assert {key: (verdict, what) for key, verdict, what in rows} == dict(KEYS)


def test_the_page_names_every_function() -> None:
    named = {name.lower() for name in re.findall(r"`(\w+)\(\)`", _PAGE)}
    assert named >= {*map(str.lower, FUNCTIONS), *map(str.lower, STATUS_FUNCTIONS)}
