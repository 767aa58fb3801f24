"""YAML 1.2 with anchors, as workflow files are written in: read within bounds, and each mistake told with its line."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.yaml_syntax import MOST_NODES, read_document, read_yaml
from orchestrator.exceptions import ConfigError


def _value(text: str) -> Any:
    return read_document(text, "a.yml").value


def _mistake(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_document(text, "a.yml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("off", "off"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("'null'", "null"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("3.10", 3.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        ("'3.10'", "3.10"),
        ("-.INF", -math.inf),
        ("0b11", "0b11"),
        ("=", "="),
    ],
)
def test_scalars_mean_what_the_core_schema_of_yaml_1_2_says(written: str, meant: Any) -> None:
    value = _value(f"key: {written}")["key"]
    assert value == meant and type(value) is type(meant)


def test_a_number_of_thousands_of_digits_is_read_as_the_float_that_it_is_to_github() -> None:
    assert _value(f"key: {'1' * 5000}") == {"key": math.inf}
    assert _value("key: 12345678901234567890") == {"key": 12345678901234567890.0}
    assert math.isnan(_value("key: .nan")["key"])


def test_keys_are_text_as_they_are_written() -> None:
    assert _value("on: 1\ntrue: 2\n3.10: 3\n") == {"on": 1, "true": 2, "3.10": 3}


def test_an_empty_document_is_null() -> None:
    assert _value("") is None
    assert _value("# nothing\n---\n") is None


def test_the_line_of_each_key_and_the_digits_of_each_number_are_kept() -> None:
    document = read_document("a:\n  - 1\n  - b: 3.10\n", "a.yml")
    assert document.lines == {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, "b"): 3}
    assert document.numbers == {("a", 0): "1", ("a", 1, "b"): "3.10"}


def test_an_alias_stands_for_a_copy_of_what_it_names() -> None:
    value = _value("a: &x [1, {b: &y text}]\nc: *x\nd: *y\n")
    assert value == {"a": [1, {"b": "text"}], "c": [1, {"b": "text"}], "d": "text"}
    assert value["a"] is not value["c"] and value["a"][1] is not value["c"][1]


def test_a_key_may_be_an_alias() -> None:
    assert _value("a: &x name\n*x : 1\n") == {"a": "name", "name": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: *nobody", "a.yml, line 2: the alias *nobody names no anchor above it: write &nobody before"),
        ("a: 1\nb: &b\n  - *b", "a.yml, line 3: the alias *b stands inside of what it names"),
        ("a: &x 1\nb: &x 2", "a.yml, line 2: the anchor &x stands twice, first in line 1"),
        ("a: &x {k: 1}\nb:\n  <<: *x", 'a.yml, line 3: b."<<": merge keys are read neither here nor by GitHub'),
        ("a:\n  b: 1\n  'b': 2", "a.yml, line 3: a.b: stands twice, first in line 2"),
        ("a:\n- !!python/name:os.system x", "a.yml, line 2: the tag tag:yaml.org,2002:python/name:os.system"),
        ("a: 1\nif: !cancelled()", "a.yml, line 2: the tag !cancelled(): tags are not read; quote what is text"),
        ("a: 1\n---\nb: 2", "a.yml, line 2: a second document starts here"),
        ("a:\n\t- b", "a.yml, line 2, column 1: no valid YAML: found character '\\t' that cannot start any token; "),
        ("a:\n\t- b", "indent with spaces, not with tabs"),
        ("a: [1", "a.yml, line 1, column 6: no valid YAML: expected ',' or ']'"),
        ("? [a, b]\n: 1", "a.yml, line 1: a list or table cannot be a key"),
        ('a: 1\nb: "\\0"', "a.yml, line 2: '\\x00': text must have no NUL and no lone surrogates"),
        ('"\\ud800": 1', "text must have no NUL and no lone surrogates"),
        ('a: "\\UFFFFFFFF"', "a.yml: no valid YAML"),
        ("a: \x01", "a.yml, line 1: no valid YAML: the character '\\x01' is not allowed"),
        ("[" * 51 + "]" * 51, "a.yml, line 1: nested deeper than 50 levels"),
        ("[" * 100_000, "nested deeper than 50 levels"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str, words: str) -> None:
    assert words in _mistake(text)


def test_as_many_levels_as_are_allowed_are_read() -> None:
    assert _value("[" * 50 + "]" * 50)


def test_levels_that_come_by_aliases_count_too() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
    assert _mistake(chain) == "a.yml, line 50: nested deeper than 50 levels"


def test_a_bomb_of_aliases_is_told_at_once_with_the_line_that_makes_it_too_much() -> None:
    row = "x, " * 9 + "x"
    bomb = f"a0: &a0 [{row}]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 40))
    before = time.monotonic()
    assert _mistake(bomb) == (
        f"a.yml, line 5: the alias *a3 makes more than {MOST_NODES} values in one file, the most that is read"
    )
    assert time.monotonic() - before < 10


def test_a_file_of_too_many_values_is_told_without_aliases_too() -> None:
    assert f"more than {MOST_NODES} values" in _mistake("[" + "1," * MOST_NODES + "]")


def test_configs_are_read_as_before() -> None:
    assert read_yaml("a: yes\nb: 010\nc: 12:30", "a.yml")[0] == {"a": True, "b": 8, "c": "12:30"}
    with pytest.raises(ConfigError, match="aliases are not read, write the value again"):
        read_yaml("a: &a 1\nb: *a", "a.yml")


def test_a_character_beyond_all_is_a_mistake_in_a_config_too() -> None:
    with pytest.raises(ConfigError, match="no valid YAML"):
        read_yaml('a: "\\UFFFFFFFF"', "a.yml")


_PIECES = [
    "a",
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "<<",
    "1",
    "0x",
    '"',
    "'",
    "\\",
    "|",
    ">",
]
_MORE_PIECES = [
    "? ",
    "!",
    "#",
    "---\n",
    "...",
    "%YAML 1.1",
    "\t",
    "~",
    "1.5",
    "true",
    "\\u",
    "\ufeff",
    "é",
    "\r",
    "`",
    "@",
]


@given(st.lists(st.sampled_from(_PIECES + _MORE_PIECES), max_size=25).map("".join))
def test_any_text_is_read_or_told_to_be_wrong(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read_document(text, "a.yml")
