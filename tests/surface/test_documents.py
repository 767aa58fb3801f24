"""What docs/thin.md, docs/config.md and docs/cli.md show runs, and says what is there: no more and no less."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import orchestrator
from orchestrator.cli.program import COMMANDS, load_command, program
from orchestrator.config import read_config
from tests.surface.shell import Shell

_DOCS = Path(orchestrator.__file__).parents[1] / "docs"
_FLAKY = """
import os
print("attempt", flush=True)
if not os.path.exists("mark"):
    open("mark", "w").close()
    raise SystemExit(1)
"""


def page(name: str) -> str:
    """Return the text of a document."""
    return (_DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    """Return the blocks of a document that are marked as of this kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of the same level or above."""
    level = heading.index(" ")
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no heading {heading!r}"
    return found[1]


def fields(text: str) -> set[str]:
    """Return the names in the first column of the tables of a text."""
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


# docs/thin.md


class _Shown(ast.NodeTransformer):
    """Have every expression with a comment behind it handed to `shown`, with that comment."""

    def __init__(self, source: str) -> None:
        self._lines = source.split("\n")
        self.found = 0

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        """Replace `value  # comment` by `shown(value, comment)`."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        rest = self._lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        if not rest.startswith("  # "):
            return node
        self.found += 1
        call = ast.Call(ast.Name("shown", ast.Load()), [node.value, ast.Constant(rest[4:])], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


def test_the_page_of_one_liners_runs_and_its_comments_are_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []

    def shown(value: object, said: str) -> None:
        assert repr(value) == said
        seen.append(said)

    source = "\n".join(blocks(page("thin.md"), "python"))
    comments = _Shown(source)
    tree = comments.visit(ast.parse(source))
    # The name belongs to no module: what is defined travels to workers by value, as that of a script does.
    exec(compile(tree, "thin.md", "exec"), {"__name__": "thin_page", "shown": shown})
    assert len(seen) == comments.found > 20


@pytest.mark.parametrize("name", sorted({"batch", "chain_scripts", "condition", "pipe", "python_func", "retry"}))
def test_every_one_liner_has_an_example(name: str) -> None:
    assert f"o.{name}(" in "".join(blocks(page("thin.md"), "python"))


# docs/config.md


def _settings(folder: Path, name: str, text: str) -> dict[str, Any]:
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    return json.loads(json.dumps(read_config(folder / name).values).replace(str(folder), "…"))  # type: ignore[no-any-return]


def test_the_example_config_says_the_same_in_toml_and_in_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CODOMYRMEX_MAX_WORKERS", "CODOMYRMEX_SCRIPT_ROOT", "CODOMYRMEX_WORKFLOW_TIMEOUT"):
        monkeypatch.delenv(variable, raising=False)
    example = section(page("config.md"), "## A complete example")
    (toml,) = blocks(example, "toml")
    (yaml,) = blocks(example, "yaml")
    settings = _settings(tmp_path / "toml", "orchestrator.toml", toml)
    assert settings == _settings(tmp_path / "yaml", "orchestrator.yaml", yaml)
    assert all(settings[name] for name in ("defaults", "scripts", "workflows", "discovery"))


def test_every_key_of_the_example_config_is_explained() -> None:
    (toml,) = blocks(section(page("config.md"), "## A complete example"), "toml")
    keys = set(re.findall(r"(?:^|[{,] ?)(\w+) = ", toml, re.MULTILINE)) - {"TZ", "LEVEL"}
    named = set(re.findall(r"`(\w+)`", section(page("config.md"), "## Sections and keys")))
    steps = {"count", "disk", "mail"}
    assert keys - steps <= named


# docs/cli.md


def _long_options() -> Iterator[tuple[str, str]]:
    commands = [program, *map(load_command, COMMANDS)]
    commands += [inner for group in commands[1:] if isinstance(group, click.Group) for inner in group.commands.values()]
    for command in commands:
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in (*parameter.opts, *parameter.secondary_opts):
                    if option.startswith("--"):
                        yield str(command.name), option
    yield "orchestrator", "--help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section(name: str) -> None:
    assert section(page("cli.md"), f"## {name}").strip()


def test_every_long_option_is_mentioned() -> None:
    text = page("cli.md")
    missing = {(name, option) for name, option in _long_options() if not re.search(rf"{option}(?![\w-])", text)}
    assert not missing


def test_the_page_mentions_no_option_of_ours_that_there_is_not() -> None:
    known = {option for _, option in _long_options()}
    # Options of scripts and of other programs, in examples.
    foreign = {"--seed", "--size", "--fast", "--year", "--output"}
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"\]\(#[^)]*\)", "]", page("cli.md"))))
    assert mentioned - foreign <= known


@pytest.fixture
def flaky(shell: Shell) -> str:
    """A script that fails the first time, under its path."""
    return shell.script("flaky.py", _FLAKY)


def test_the_schema_of_the_lines_of_json_is_that_of_a_real_run(shell: Shell, flaky: str) -> None:
    done = shell.batch("--jsonl", "--line-buffer", "--retries", "1", flaky)
    assert done.returncode == 0, done.stderr
    real: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        assert real.setdefault(event["event"], set(event)) == set(event)
    text = section(page("cli.md"), "### `--jsonl`")
    assert real == {name: fields(section(text, f"#### `{name}`")) for name in re.findall(r"^#### `(\w+)`", text, re.M)}
    assert set(real) == {"started", "printed", "retrying", "finished", "ended"}


def test_the_example_line_of_each_event_has_the_fields_of_its_table() -> None:
    text = section(page("cli.md"), "### `--jsonl`")
    for name in re.findall(r"^#### `(\w+)`", text, re.MULTILINE):
        (line,) = blocks(section(text, f"#### `{name}`"), "json")
        assert set(json.loads(line)) == fields(section(text, f"#### `{name}`"))


def test_the_document_and_the_kept_figures_have_the_fields_that_the_page_says(shell: Shell, flaky: str) -> None:
    done = shell.batch("--json", "--results", "out", "--retries", "1", flaky)
    document = json.loads(done.stdout)
    text = section(page("cli.md"), "### `--jsonl`")
    finished = fields(section(text, "#### `finished`")) - {"event", "time"}
    ended = fields(section(text, "#### `ended`")) - {"event", "time"}
    assert set(document) == ended | {"scripts"}
    assert set(document["scripts"][0]) == finished
    for folder in ("out/001-flaky.py", "out/001-flaky.py/attempt-1"):
        meta = json.loads((shell.folder / folder / "meta.json").read_text(encoding="utf-8"))
        assert set(meta) == finished - {"stdout", "stderr"}
    (example,) = blocks(section(page("cli.md"), "### `--results`"), "json")
    assert set(json.loads(example)) == finished - {"stdout", "stderr"}
