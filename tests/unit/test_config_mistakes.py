"""Each mistake in a config is told with its place, what was found and what is allowed."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import load_config
from orchestrator.exceptions import ConfigError
from tests.unit.conftest import Write, mistake

# Mistakes in what is said


def test_an_unknown_key_names_the_file_the_key_and_the_closest_known_one(write: Write) -> None:
    write("[defaults]\ntimeot = 3")
    assert mistake() == (
        "orchestrator.toml: defaults.timeot: unknown key; did you mean 'timeout'? "
        "Known here: env, jobs, memory, retries, timeout"
    )


def test_an_unknown_key_like_no_other_is_told_with_those_known(write: Write) -> None:
    write("[zzz]")
    assert (
        mistake() == "orchestrator.toml: zzz: unknown key. Known here: agents, defaults, discovery, scripts, workflows"
    )


def test_a_mistake_in_yaml_is_told_with_its_line(write: Write) -> None:
    write("defaults:\n  jobs: 2\n  timeout: 5 x\n", "a.yaml")
    assert mistake("a.yaml").startswith("a.yaml, line 3: defaults.timeout: must be a number of seconds above zero")
    write("scripts:\n  a.py:\n    args:\n      - x\n      - 5\n", "a.yaml")
    assert mistake("a.yaml").startswith('a.yaml, line 5: scripts."a.py".args[1]: must be text, not 5 (whole number)')


def test_a_key_of_a_pyproject_is_named_in_full(write: Write) -> None:
    write("[tool.orchestrator.defaults]\njobs = 0", "pyproject.toml")
    assert mistake().startswith("pyproject.toml: tool.orchestrator.defaults.jobs: must be a whole number, 1 or more")
    write("[tool]\norchestrator = 3", "pyproject.toml")
    assert "tool.orchestrator: must be a table" in mistake()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("defaults", [], "must be a table"),
        ("defaults.jobs", "four", 'must be a whole number, 1 or more, a share such as "50%", or "auto", not \'four\''),
        ("defaults.jobs", True, "not True (boolean)"),
        ("defaults.jobs", 0, "not 0 (whole number)"),
        ("defaults.jobs", 1.5, "not 1.5 (number)"),
        ("defaults.jobs", "0%", "not '0%' (text)"),
        ("defaults.jobs", 1 << 70, "must be a whole number"),
        ("defaults.timeout", True, "not True (boolean)"),
        ("defaults.timeout", "5 parsecs", '"90s" or "1h30m", not \'5 parsecs\' (text)'),
        ("defaults.timeout", 0, "above zero"),
        ("defaults.timeout", "0s", "above zero"),
        ("defaults.timeout", -1, "above zero"),
        ("defaults.timeout", math.nan, "not nan (number)"),
        ("defaults.timeout", math.inf, "not inf (number)"),
        ("defaults.timeout", 10**400, "above zero"),
        ("defaults.timeout", [], "not [] (list)"),
        ("defaults.memory", "2X", '"512M" or "2G", not \'2X\' (text)'),
        ("defaults.memory", 1.5, "not 1.5 (number)"),
        ("defaults.memory", False, "not False (boolean)"),
        ("defaults.memory", 0, "above zero"),
        ("defaults.memory", 1 << 70, "whole number of bytes"),
        ("defaults.retries", -1, "must be a whole number, 0 or more, not -1"),
        ("defaults.retries", True, "not True (boolean)"),
        ("defaults.retries", None, "not None (null)"),
        ("defaults.env", "A=1", "must be a table"),
        ("defaults.env.A", 5, "must be text, not whole number: quote it"),
        ("defaults.env.A", True, "must be text, not boolean: quote it"),
        ("defaults.env.A", "a\0b", "without NUL"),
        ("defaults.env.A", "\ud800", "lone surrogates"),
        ("defaults.env", {"A=B": "x"}, "can name no variable"),
        ("defaults.env", {"": "x"}, "can name no variable"),
        ("scripts.a.args", "--fast", "must be a list of text, not '--fast' (text): write [\"--fast\"]"),
        ("scripts.a.args", ["a", 5], "scripts.a.args[1]: must be text, not 5"),
        ("scripts.a.depends_on", "b", 'write ["b"]'),
        ("scripts.a.depends_on", [""], "must not be empty"),
        ("scripts.a.cwd", " ", "must not be empty"),
        ("scripts.a.jobs", 2, "unknown key"),
        ("scripts", {"": {}}, "must not be empty"),
        ("workflows", {"": {"python": "a.py:b"}}, "the workflow's name ''"),
        ("workflows", {"a b": {"python": "a.py:b"}}, "the workflow's name 'a b'"),
        ("workflows", {"a/b": {"python": "a.py:b"}}, "the workflow's name 'a/b'"),
        ("workflows", {"a:b": {"python": "a.py:b"}}, "the workflow's name 'a:b'"),
        ("workflows.w", {}, "must have either 'python' or 'steps', and has neither"),
        ("workflows.w", {"python": "a.py:b", "steps": {"s": {"run": "x"}}}, "'python' or 'steps', not both"),
        ("workflows.w.python", "flows:nightly", 'such as "flows.py:nightly"'),
        ("workflows.w.python", "flows.py", 'such as "flows.py:nightly"'),
        ("workflows.w.python", "flows.py:1", 'such as "flows.py:nightly"'),
        ("workflows.w.steps", {}, "at least one step"),
        ("workflows.w.steps.s", {}, "must have either 'script' or 'run', and has neither"),
        ("workflows.w.steps.s", {"script": "a.py", "run": "x"}, "not both"),
        ("workflows.w.steps.s.run", [], "must name a program"),
        ("workflows.w.steps.s.run", "", "must not be empty"),
        ("workflows.w.steps.s.run", 5, "must be a shell line or a list of text, not 5"),
        ("workflows.w.descripton", "x", "did you mean 'description'"),
        ("agents", {"": {"command": ["x"]}}, "must not be empty"),
        ("agents.a", {}, "must have either 'command' or 'python', and has neither"),
        ("agents.a", {"command": ["x"], "python": "a.py:b"}, "'command' or 'python', not both"),
        ("agents.a.command", "mytool {task}", "must be a list of text, not 'mytool {task}' (text): write ["),
        ("agents.a.command", ["x", 5], "agents.a.command[1]: must be text, not 5"),
        ("agents.a.command", [], "must name a program first"),
        ("agents.a.command", ["{task}"], "lets the task choose the program"),
        ("agents.a.command", ["sh", "-c", "mytool {task}"], "lets sh run the task as a program"),
        ("agents.a.python", "agents:review", 'such as "flows.py:nightly"'),
        ("agents.a", {"python": "a.py:b", "env": {"SECRET": "s3"}}, "agents.a.env: is for commands"),
        ("agents.a", {"python": "a.py:b", "cwd": "."}, "agents.a.cwd: is for commands"),
        ("agents.a.concurrency", 0, "must be a whole number, 1 or more"),
        ("agents.a.concurency", 1, "did you mean 'concurrency'"),
        ("discovery.include", "*.py", 'write ["*.py"]'),
        ("discovery.root", 5, "must be text"),
    ],
)
def test_what_may_not_be_is_refused_at_its_key(write: Write, path: str, value: Any, words: str) -> None:
    table = value
    for key in reversed(path.split(".")):
        table = {key: table}
    message = mistake(write(json.dumps(table), "a.json"))
    assert f": {path}" in message
    assert words in message
    assert len(message) < 600


def test_a_step_that_depends_on_none_is_told_the_closest(write: Write) -> None:
    write('[workflows.w.steps.fetch]\nrun = "x"\n[workflows.w.steps.load]\nrun = "y"\ndepends_on = ["fetsch"]')
    assert mistake() == (
        "orchestrator.toml: workflows.w.steps.load.depends_on[0]: 'fetsch' (text) is no step of this workflow; "
        "did you mean 'fetch'? Known here: fetch, load"
    )


def test_what_was_found_is_cut_short(write: Write) -> None:
    message = mistake(write(json.dumps({"defaults": {"jobs": "x" * 5000}, "y" * 5000: 1}), "a.json"))
    assert len(message) < 400
    assert len(mistake(write(json.dumps({"y" * 5000: 1}), "a.json"))) < 400
    assert "thousands of digits" in mistake(write("defaults.jobs = 0x" + "f" * 5000))


# Mistakes in how it is said


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[defaults]\njobs = \n", "a.toml, line 2: no valid TOML"),
        ("a.toml", "\n[defaults\n", "a.toml, line 2: no valid TOML"),
        ("a.toml", "a = '''\n\n", "no valid TOML"),
        ("a.toml", "a = 1\na = 2", "a.toml, line 2: no valid TOML"),
        ("a.toml", "a = " + "[" * 5000, "nested deeper than 50"),
        ("a.toml", "a = " + "[" * 51 + "]" * 51, "nested deeper than 50"),
        ("a.toml", "\n" + "a." * 50_000 + "a = 1", "line 2: more than 1000 dots"),
        ("a.toml", "a = " + "9" * 5000, "no valid TOML"),
        ("a.json", '{"a": 1,\n}', "a.json, line 2, column 1: no valid JSON"),
        ("a.json", '{"defaults": {"jobs": 1, "jobs": 2}}', "the key 'jobs' stands twice"),
        ("a.json", "[" * 100_000, "nested deeper than 50"),
        ("a.json", '{"a":' + "[" * 60 + "]" * 60 + "}", "nested deeper than 50"),
        ("a.json", "[1]", "a.json: must be a table of keys and values, not [1] (list)"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "no valid JSON"),
        ("a.yaml", "- 1\n- 2\n", "a.yaml: must be a table of keys and values, not [1, 2] (list)"),
        ("a.yaml", "just words", "must be a table"),
        ("a.yaml", "defaults:\n\tjobs: 1", "a.yaml, line 2, column 1: no valid YAML: "),
        ("a.yaml", "defaults:\n\tjobs: 1", "not with tabs"),
        ("a.yaml", "defaults:\n  jobs: 1\n  jobs: 2\n", "a.yaml, line 3: defaults.jobs: stands twice, first in line 2"),
        ("a.yaml", "a: &x [1]\nb: *x", "a.yaml, line 2: the alias *x"),
        ("a.yaml", "a: 1\nb: !!python/object:os.system {}", "a.yaml, line 2: the tag "),
        ("a.yaml", "a: !!bool maybe", "the tag "),
        ("a.yaml", "a: " + "[" * 51 + "]" * 51, "nested deeper than 50"),
        ("a.yaml", "a: " + "[" * 100_000, "nested deeper than 50"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "a.yaml, line 2"),
        ("a.yaml", "a:\n  b: \x01", "a.yaml, line 2: no valid YAML: the character '\\x01'"),
        ("a.yaml", "1: a", "the key 1 (whole number) must be text: quote it"),
        ("a.yaml", "scripts:\n  on: {}", "a.yaml, line 1: scripts: the key True (boolean) must be text"),
        ("a.yaml", "? [a]\n: b", "no valid YAML"),
        ("a.yaml", "a: " + "9" * 5000, "no valid YAML"),
        ("a.ini", "", "a.ini: no known format: a config's name ends in .toml, .yaml, .yml or .json"),
        ("a", "", "no known format"),
    ],
)
def test_broken_syntax_is_told_with_its_line(write: Write, name: str, text: str, words: str) -> None:
    write(text, name)
    assert words in mistake(name)


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_bytes_that_are_no_utf8_are_told_with_their_line(write: Write, suffix: str) -> None:
    write(b"# one\n# two \xe9\n", f"a.{suffix}")
    assert mistake(f"a.{suffix}").startswith(f"a.{suffix}, line 2: the byte 0xe9 is no UTF-8")


def test_a_file_over_one_megabyte_is_refused_and_one_of_that_size_is_read(write: Write) -> None:
    assert load_config(write(b"#" * (1 << 20)))["scripts"] == {}
    assert "larger than 1 MB" in mistake(write(b"#" * ((1 << 20) + 1)))


def test_what_is_no_regular_file_is_refused_without_waiting(project: Path) -> None:
    os.mkfifo("orchestrator.toml")
    assert "is a FIFO" in mistake()
    assert "is a FIFO" in mistake("orchestrator.toml")
    os.remove("orchestrator.toml")
    os.mkdir("orchestrator.toml")
    assert "is a directory" in mistake()


def test_a_missing_file_is_named(project: Path) -> None:
    assert mistake("no.toml") == "no.toml: cannot be read: No such file or directory"
    assert "no path" in mistake("a\0.toml")
    os.symlink("nowhere", "orchestrator.yaml")
    assert "orchestrator.yaml: cannot be read" in mistake()


def test_a_file_that_cannot_be_read_is_told_with_the_reason(write: Write) -> None:
    write("", "a")
    assert mistake("a/b.toml") == "a/b.toml: cannot be read: Not a directory"
    os.symlink("orchestrator.toml", "orchestrator.toml")
    assert mistake() == "orchestrator.toml: cannot be read: Too many levels of symbolic links"


_PIECES = [
    "defaults",
    "scripts",
    "env",
    "a",
    "1",
    ":",
    "-",
    "[",
    "]",
    "{",
    "}",
    "=",
    '"',
    "'",
    ".",
    ",",
    "&x",
    "*x",
    "!!int",
    "!",
    "?",
    "|",
    ">",
    "#",
    "---",
    "<<",
    "~",
    "0x",
    "_",
    "1:30",
    "2026-01-01",
    "\\u",
    "\\ud800",
    "%",
    "1e999",
    "NaN",
    "'''",
    '"""',
]


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from([*_PIECES, " ", "\n", "\n  ", "\t", "\r", "\0"])))
def test_no_bytes_raise_anything_but_a_config_error(suffix: str, data: bytes | list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{suffix}")
        path.write_bytes(data if isinstance(data, bytes) else "".join(data).encode())
        message = None
        try:
            load_config(path)
        except ConfigError as error:
            message = str(error)
    assert message is None or f"a.{suffix}" in message
