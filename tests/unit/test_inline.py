"""What a script's file says of itself, read without running it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.inline import Inline, read_inline
from orchestrator.exceptions import ConfigError

Read = Callable[..., Inline]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_source(source: str | bytes, name: str = "a.py") -> Inline:
        path = tmp_path / name
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return read_inline(path)

    return read_source


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ('"""One line."""', "One line."),
        ('#!/usr/bin/env python3\n# comment\n\n"""\n\n   Below.\n\nMore."""\nx = 1', "Below."),
        ("'single'", "single"),
        ('"a" "b"\nx = 1', "ab"),
        ('r"""a\\d"""; x = 1', "a\\d"),
        ('"""a\\d"""', "a\\d"),
        ('"""a"""\nthis is no Python (', "a"),
        ('"""a""".strip()', ""),
        ('"""a""" + "b"', ""),
        ('f"""a"""', ""),
        ('b"""a"""', ""),
        ('x = 1\n"""late"""', ""),
        ("# only a comment", ""),
        ("", ""),
        ('"""', ""),
        ('"""   """', ""),
        ('\ufeff"""marked"""', "marked"),
        ('"""a"""\r\nx = 1\r\n', "a"),
        ('  """indented"""', ""),
        ("\0", ""),
        ("(" * 10_000, ""),
    ],
)
def test_a_python_script_is_described_by_the_first_line_of_its_docstring(
    read: Read, source: str, description: str
) -> None:
    assert read(source).description == description


def test_nothing_is_executed(read: Read) -> None:
    assert read('"""Quiet."""\nraise SystemExit("executed")').description == "Quiet."


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("#!/bin/sh\n# Back it up.\nset -e\n", "Back it up."),
        ("#!/bin/sh\n\n#\n#####\n## Back up ##\n", "Back up"),
        ("# No shebang", "No shebang"),
        ("#!/bin/sh\nset -e\n# of the next line only\n", ""),
        ("#!/bin/sh\n# shellcheck disable=SC2086\n# -*- coding: utf-8 -*-\n# Real\n", "Real"),
        ("#!/bin/sh\n# /// script\n# a = 1\n# ///\n# Real\n", "Real"),
        ("#!/bin/sh\n", ""),
        ("\x7fELF\0\0", ""),
    ],
)
def test_another_script_is_described_by_its_first_comment(read: Read, source: str, description: str) -> None:
    assert read(source, "a.sh").description == description


def test_python_without_a_suffix_is_known_by_its_shebang(read: Read) -> None:
    assert read('#!/usr/bin/env python3\n# no\n"""Yes."""', "tool").description == "Yes."


def test_the_table_of_the_script_block_is_read(read: Read) -> None:
    inline = read(
        "#!/usr/bin/env python3\n# /// script\n# dependencies = []\n#\n# [tool.orchestrator]\n"
        '# timeout = "5s"\n# args = ["# ///"]\n# ///\n"""Say."""\n'
    )
    assert inline == Inline("Say.", {"timeout": "5s", "args": ["# ///"]}, True)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "# /// script\n# a = 1\n",
        "# /// script\n# ///\n",
        "# /// script \n# a = 1\n# ///\n",
        " # /// script\n # a = 1\n # ///\n",
        "#/// script\n# a = 1\n# ///\n",
        "# /// script\n#a = 1\n# ///\n",
        "# /// script\n\n# ///\n",
        "# /// script\n# a = 1\n# /// \n",
        "# /// scr_ipt\n# a = 1\n# ///\n",
        "# /// other\n# not [ TOML\n# ///\n",
        "# /// other\n# /// script\n# a = 1\n# ///\n",
    ],
)
def test_what_has_not_the_form_of_a_script_block_is_none(read: Read, source: str) -> None:
    assert read(source) == Inline()


@pytest.mark.parametrize(
    ("source", "table"),
    [
        ("# /// script\n# a = 1\n# ///", {}),
        ("# /// script\r\n# [tool.orchestrator]\r\n# a = 1\r\n# ///\r\n", {"a": 1}),
        ("# /// script\n# [tool.orchestrator]\n# a = 1\n# ///\n# b = 2\n", {"a": 1}),
        ("# /// script\n# [tool.orchestrator]\n# a = '''\n# ///\n# '''\n# ///\nx", {"a": "///\n"}),
        ("# /// other\n# a\n# ///\n\n# /// script\n# [tool.orchestrator]\n# a = 1\n# ///\n", {"a": 1}),
        ("# /// script\n# tool.other.a = 1\n# ///", {}),
    ],
)
def test_a_block_ends_at_the_last_closing_line_of_its_comment(
    read: Read, source: str, table: dict[str, object]
) -> None:
    assert read(source) == Inline("", table, True)


_CANONICAL = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The reference expression of the specification, to compare with."""


@given(
    st.lists(
        st.sampled_from(["# /// script", "# /// other", "# ///", "#", "# b = 1", "#c", "", "x", "# /// script ", "# "])
    )
)
def test_blocks_are_those_of_the_specification(lines: list[str]) -> None:
    source = "\n".join(lines)
    blocks = [match for match in _CANONICAL.finditer(source) if match["type"] == "script"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.py")
        path.write_text(source)
        found = _read(path)
    if len(blocks) > 1:
        assert "a second block" in str(found)
    elif isinstance(found, Inline):
        assert found.has_block == (len(blocks) == 1)
    else:  # a block, whose content is no TOML
        assert len(blocks) == 1
        assert "no valid TOML" in found


def _read(path: Path) -> Inline | str:
    try:
        return read_inline(path)
    except ConfigError as error:
        return str(error)


@pytest.mark.timeout(20)
def test_thousands_of_blocks_that_are_not_closed_take_no_time(read: Read) -> None:
    assert read("# /// script\n" * 75_000) == Inline()


def test_a_second_script_block_is_refused_with_both_lines(read: Read) -> None:
    block = "# /// script\n# a = 1\n# ///\n"
    with pytest.raises(ConfigError, match=r"a\.py, line 6: a second block '# /// script'; the first is in line 2"):
        read(f"\n{block}\n{block}")


def test_a_syntax_error_in_the_block_names_the_file_and_its_line(read: Read) -> None:
    with pytest.raises(ConfigError, match=r"a\.py, line 4: no valid TOML"):
        read("#!/bin/sh\n# /// script\n# a = 1\n# b = \n# ///\n")
    with pytest.raises(ConfigError, match=r"a\.py, line 3: no valid TOML"):
        read("# /// script\n# a = 1\n# b = [\n# ///\n")


@pytest.mark.parametrize(("text", "key"), [("tool = 1", "tool"), ("tool.orchestrator = []", "tool.orchestrator")])
def test_a_tool_that_is_no_table_is_refused(read: Read, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.py: {key}: must be a table"):
        read(f"# /// script\n# {text}\n# ///\n")


def test_of_a_large_file_only_the_head_is_searched(read: Read) -> None:
    block = b"# /// script\n# [tool.orchestrator]\n# a = 1\n# ///\n"
    filler = b'"""doc"""\n' + b"x = 1\n" * (1 << 18)
    assert read(block + filler) == Inline("", {"a": 1}, True)
    assert read(filler + block) == Inline()


def test_a_fifo_and_a_folder_say_nothing_and_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert read_inline(tmp_path / "pipe.py") == read_inline(tmp_path) == Inline()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_inline(tmp_path / "no.py")


@pytest.mark.parametrize(
    ("source", "description"),
    [
        (b'"""caf\xe9"""', "caf\ufffd"),
        (b'# -*- coding: latin-1 -*-\n"""caf\xe9"""', "café"),
        (b'# coding: no-such-thing\n"""caf\xc3\xa9"""', "café"),
        (b'# coding: hex\n"""a"""', "a"),
    ],
)
def test_bytes_are_read_by_the_declared_encoding_and_never_refused(read: Read, source: bytes, description: str) -> None:
    assert read(source).description == description


@given(data=st.binary(max_size=80) | st.text(alphabet="#/ scriptool.[]=\"'\n\\r(\0", max_size=80).map(str.encode))
@pytest.mark.parametrize("name", ["a.py", "a"])
def test_no_bytes_raise_anything_but_a_config_error(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        found = _read(path)
    assert isinstance(found, Inline) or name in found
