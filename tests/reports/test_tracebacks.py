"""Where a program's own code failed, found in what real interpreters print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.reports.tracebacks import Place, exception_in, place_in, tracebacks_in

CHAINED = """\
import json

def read():
    try:
        json.loads("{")
    except ValueError as error:
        raise KeyError("port") from error

read()
"""
HANDLING = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['x']\n"
LIBRARY = "import json\n\njson.loads('{')\n"
MULTILINE = "raise ValueError('first\\nsecond')\n"
GROUP = """\
def one():
    raise ValueError("inner")

try:
    one()
except ValueError as error:
    raise ExceptionGroup("several", [error])
"""
DEEP = "def f():\n    f()\n\nf()\n"
LOGGED = """\
import json, logging

try:
    1 / 0
except ZeroDivisionError:
    logging.exception("oh")

json.loads("{")
"""
THEIRS = """\
def call(f):
    try:
        f()
    except ValueError as error:
        raise OSError("wrapped") from error
"""
MINE = """\
import theirs

def bad():
    int("x")

theirs.call(bad)
"""


def stderr_of(folder: Path, text: str, name: str = "script.py") -> str:
    """Run a script under its absolute path, and return what it wrote to standard error."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr


@pytest.mark.parametrize(
    ("script", "line", "exception"),
    [
        (CHAINED, 7, "KeyError: 'port'"),
        (HANDLING, 4, "KeyError: 'x'"),
        (
            LIBRARY,
            3,
            "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2",
        ),
        (MULTILINE, 1, "ValueError: first"),
        (GROUP, 2, "ValueError: inner"),
        (DEEP, 2, "RecursionError: maximum recursion depth exceeded"),
        ("x = = 1\n", 1, "SyntaxError: invalid syntax"),
        ("if 1:\nx = 1\n", 2, "IndentationError: expected an indented block after 'if' statement on line 1"),
        ("import broken\n", 1, "SyntaxError: invalid syntax"),
        ("assert 1 == 2\n", 1, "AssertionError"),
    ],
    ids=["chained", "handling", "library", "multiline", "group", "deep", "syntax", "indent", "imported", "bare"],
)
def test_the_last_line_of_our_own_is_found(tmp_path: Path, script: str, line: int, exception: str) -> None:
    (tmp_path / "broken.py").write_text("x = = 1\n", encoding="utf-8")
    text = stderr_of(tmp_path, script)
    file = "broken.py" if script.startswith("import broken") else "script.py"
    assert place_in(text, str(tmp_path)) == Place(file, line)
    assert exception_in(text).startswith(exception)


def test_a_chain_whose_end_lies_elsewhere_is_followed_back_to_our_own_code(tmp_path: Path) -> None:
    theirs = tmp_path / "lib" / "theirs.py"
    theirs.parent.mkdir()
    theirs.write_text(THEIRS, encoding="utf-8")
    text = stderr_of(tmp_path, f"import sys; sys.path.append({str(theirs.parent)!r})\n{MINE}", "mine/script.py")
    assert [len(found.frames) for found in tracebacks_in(text)] == [2, 2]
    assert exception_in(text) == "OSError: wrapped"
    assert place_in(text, str(tmp_path / "mine")) == Place("script.py", 7)
    outside = text.replace(f'File "{tmp_path}/mine/script.py", line 7', 'File "/elsewhere/x.py", line 8')
    assert place_in(outside, str(tmp_path / "mine")) == Place("script.py", 5)


def test_an_exception_that_was_only_logged_before_is_not_followed(tmp_path: Path) -> None:
    text = stderr_of(tmp_path, LOGGED)
    assert place_in(text, str(tmp_path)) == Place("script.py", 8)
    elsewhere = text.replace(f'File "{tmp_path}/script.py", line 8', 'File "/elsewhere/x.py", line 9')
    assert place_in(elsewhere, str(tmp_path)) is None


def test_the_file_is_relative_to_the_workspace_if_it_lies_there(tmp_path: Path) -> None:
    text = stderr_of(tmp_path, LIBRARY, "repo/jobs/script.py")
    root = str(tmp_path / "repo" / "jobs")
    assert place_in(text, root, str(tmp_path / "repo")) == Place("jobs/script.py", 3)
    assert place_in(text, root, str(tmp_path / "elsewhere")) == Place(f"{root}/script.py", 3)
    assert place_in(text, str(tmp_path / "re")) is None


def test_what_is_installed_below_the_folder_is_not_our_own() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/repo/run.py", line 4, in <module>\n'
        '  File "/repo/.venv/lib/python3.12/site-packages/them.py", line 9, in f\n'
        '  File "<string>", line 1, in g\n'
        '  File "<frozen runpy>", line 88, in h\n'
        "ValueError\n"
    )
    assert place_in(text, "/repo") == Place("run.py", 4)
    assert place_in(text.replace("/repo/run.py", "sub/../run.py"), "/repo") == Place("run.py", 4)
    assert place_in(text.replace("/repo/run.py", "../run.py"), "/repo") is None


@pytest.mark.parametrize(
    "noise",
    [
        "",
        "Traceback (most recent call last):\n",
        "Traceback (most recent call last):\n\nValueError: cut\n",
        'Traceback (most recent call last):\n  File "/repo/a.py", line 3, in f\n    cut here',
        '>   assert x\nE   File "<string>", line 1\nE   SyntaxError: no\n\ntest_x.py:3: AssertionError\n',
        'Current thread 0x7f (most recent call first):\n  File "/repo/a.py", line 3 in f\nNameError: no\n',
        '  File "/repo/a.py", line 3\nsomething else\n',
        'see File "/repo/a.py", line 3, in f\nValueError: no\n',
    ],
)
def test_what_is_no_traceback_is_passed_over(noise: str) -> None:
    assert list(tracebacks_in(noise)) == []
    assert exception_in(noise) == ""
    assert place_in(noise, "/repo") is None


def test_exceptions_cannot_steer_a_terminal_and_are_not_endless() -> None:
    start = 'Traceback (most recent call last):\n  File "/repo/\x1b[31ma.py", line 3, in f\n'
    assert exception_in(f"{start}ValueError: \x1b[31mred\x07\n") == "ValueError: red"
    assert len(exception_in(f"{start}ValueError: {'x' * 5000}\n")) == 500
    assert place_in(f"{start}ValueError\n", "/repo") == Place("a.py", 3)
