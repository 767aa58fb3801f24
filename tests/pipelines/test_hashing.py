"""What hashFiles() takes into its hash: which files, in which order, and what it never touches."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.pipelines.actions import hashing
from orchestrator.pipelines.actions.errors import ExpressionError
from orchestrator.pipelines.actions.hashing import hash_files

FILES = {
    "package-lock.json": "top",
    "a.txt": "a",
    "a/b.txt": "ab",
    "a/.hidden": "hidden",
    "a/deep/er/b.txt": "deeper",
    "a-b/c.md": "c",
    "b/[1].txt": "brackets",
    "b/1.txt": "one",
    "node_modules/x/package-lock.json": "theirs",
    "é.txt": "é",
    "Z.txt": "z",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space[1]"
    write(folder, FILES)
    return folder


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def hash_of(*texts: str) -> str:
    """Hash as GitHub does: the digests of the files, one after the other, hashed again."""
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    return hashlib.sha256(digests).hexdigest() if texts else ""


def test_the_hash_is_the_one_that_githubs_own_glob_library_leads_to(tmp_path: Path) -> None:
    """The number was made with @actions/glob 0.4.0 for these two files, in this order."""
    write(tmp_path, {"a/x.lock": "first\n", "b.lock": "second\n"})
    expected = "c2381bb3a90059ef9b13afb0d7134039bc8429bbb46be9d19c99ea6e5a94f394"
    assert hash_files(str(tmp_path), ["**/*.lock"]) == expected


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["package-lock.json"], ["package-lock.json"]),
        (["**/package-lock.json"], ["node_modules/x/package-lock.json", "package-lock.json"]),
        (["*.txt"], ["Z.txt", "a.txt", "é.txt"]),
        (["./*.txt"], ["Z.txt", "a.txt", "é.txt"]),
        (["**/*.txt"], ["Z.txt", "a/b.txt", "a/deep/er/b.txt", "a.txt", "b/1.txt", "b/[1].txt", "é.txt"]),
        # Where the patterns begin gives the order, then names by their bytes.
        (["b", "a.txt"], ["b/1.txt", "b/[1].txt", "a.txt"]),
        (["a.txt\nb/1.txt"], ["a.txt", "b/1.txt"]),
        (["a/deep", "a/b.txt", "a"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        # A folder stands for what is in it, whichever way it is written.
        (["a"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a/"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a/**"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a/*"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a.txt/"], []),
        (["a.txt/**"], ["a.txt"]),
        (["a*"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt", "a-b/c.md", "a.txt"]),
        (["a/**/b.txt"], ["a/b.txt", "a/deep/er/b.txt"]),
        (["a/*/b.txt"], []),
        (["**/.hidden"], ["a/.hidden"]),
        (["?.txt"], ["Z.txt", "a.txt", "é.txt"]),
        (["[a-c].txt"], ["a.txt"]),
        (["[!a].txt"], ["Z.txt", "é.txt"]),
        (["[^a].txt"], ["Z.txt", "é.txt"]),
        (["b/[1].txt"], ["b/1.txt"]),
        (["b/\\[1\\].txt"], ["b/[1].txt"]),
        (["b/[[]1].txt"], ["b/[1].txt"]),
        (["A.TXT"], []),
        # What is taken away, and what comes again.
        (["**/package-lock.json", "!node_modules"], ["package-lock.json"]),
        (["**/package-lock.json", "!**/node_modules/**"], ["package-lock.json"]),
        (["**/package-lock.json\n  !node_modules/  \n"], ["package-lock.json"]),
        (["!a", "a"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a", "!a/deep", "a/deep/er/*.txt"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a", "!**/.*", "!!a/.hidden"], ["a/.hidden", "a/b.txt", "a/deep/er/b.txt"]),
        (["a", "!a/.hidden", "b/1.txt"], ["a/b.txt", "a/deep/er/b.txt", "b/1.txt"]),
        (["!a"], []),
        # Nothing to match, or nothing to match with.
        (["nothing/*.txt", "a.txt/below"], []),
        (["# a.txt\n\n   "], []),
        ([], []),
        ([""], []),
        (["/etc/hostname", "/etc/*"], []),
        (["*"], "all"),
        (["."], "all"),
        (["/**"], "all"),
    ],
)
def test_the_files_that_match_are_hashed_in_githubs_order(
    workspace: Path, patterns: list[str], names: list[str] | str
) -> None:
    if names == "all":
        names = ["Z.txt", "a/.hidden", "a/b.txt", "a/deep/er/b.txt", "a-b/c.md", "a.txt", "b/1.txt", "b/[1].txt"]
        names += ["node_modules/x/package-lock.json", "package-lock.json", "é.txt"]
    assert hash_files(str(workspace), patterns) == hash_of(*(FILES[name] for name in names))


def test_a_pattern_may_begin_with_the_workspace_itself(workspace: Path) -> None:
    assert hash_files(str(workspace), [f"{workspace}/a.txt"]) == hash_of("a")
    assert hash_files(str(workspace), [str(workspace)]) == hash_files(str(workspace), ["**"]) != ""
    assert hash_files(f"{workspace}/", [f"{workspace}/*.json"]) == hash_of("top")


def test_a_workspace_may_be_a_link(workspace: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(workspace)
    assert hash_files(str(link), ["*.json"]) == hash_of("top")
    assert hash_files(str(link), [f"{link}/*.json"]) == hash_of("top")


def test_a_relative_workspace_is_that_of_the_process(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    assert hash_files(".", ["*.json"]) == hash_of("top")


def test_the_hash_changes_with_content_and_order_and_not_with_names(tmp_path: Path) -> None:
    write(tmp_path, {"a": "1", "b": "2"})
    before = hash_files(str(tmp_path), ["*"])
    (tmp_path / "b").rename(tmp_path / "c")
    assert hash_files(str(tmp_path), ["*"]) == before
    (tmp_path / "a").write_text("2")
    (tmp_path / "c").write_text("1")
    assert hash_files(str(tmp_path), ["*"]) == hash_of("2", "1") != before


def test_a_large_file_and_an_empty_one_are_hashed_whole(tmp_path: Path) -> None:
    text = "0123456789abcdef" * 300_000
    write(tmp_path, {"large": text, "none": ""})
    assert hash_files(str(tmp_path), ["*"]) == hash_of(text, "")


def test_names_that_are_no_utf8_are_hashed_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    for name, text in ((b"\xff.txt", b"last"), (b"\xc3\xa9.txt", b"first")):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(text)
    assert hash_files(str(tmp_path), ["*.txt"]) == hash_of("first", "last")


def test_links_that_lead_out_of_the_workspace_are_left_out(workspace: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret.txt": "secret", "deep/secret.txt": "secret"})
    write(tmp_path, {"work space[1]-next/secret.txt": "its name begins like the workspace's"})
    (workspace / "s.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (workspace / "n.txt").symlink_to(tmp_path / "work space[1]-next" / "secret.txt")
    (workspace / "folder").symlink_to(tmp_path / "outside")
    (workspace / "up").symlink_to("..")
    for follow in ([], ["--follow-symbolic-links"]):
        assert (
            hash_files(str(workspace), [*follow, "s.txt", "n.txt", "folder", "up", "folder/deep", "up/outside"]) == ""
        )
        assert hash_files(str(workspace), [*follow, "*.txt"]) == hash_of("z", "a", "é")


def test_a_link_in_the_workspace_counts_as_the_file_it_leads_to(workspace: Path) -> None:
    (workspace / "link.txt").symlink_to("a/b.txt")
    (workspace / "broken.txt").symlink_to("nowhere")
    (workspace / "loop.txt").symlink_to("loop.txt")
    assert hash_files(str(workspace), ["[bl]*.txt"]) == hash_of("ab")


def test_linked_folders_are_looked_into_only_when_asked_for(workspace: Path) -> None:
    (workspace / "link").symlink_to("b")
    assert hash_files(str(workspace), ["link"]) == ""
    assert hash_files(str(workspace), ["--Follow-Symbolic-Links", "link"]) == hash_of("one", "brackets")


def test_links_in_a_circle_are_followed_once(workspace: Path) -> None:
    (workspace / "b" / "again").symlink_to("..")
    (workspace / "b" / "same").symlink_to(".")
    # From `b` back to the top, which has not been passed yet; `b` has.
    found = hash_files(str(workspace), ["--follow-symbolic-links", "b/*/*.txt"])
    assert found == hash_of("z", "a", "é")


def test_fifos_sockets_and_devices_are_never_opened(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(workspace / "pipe.txt")
    monkeypatch.chdir(workspace)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.txt")
        (workspace / "null.txt").symlink_to("/dev/null")
        assert hash_files(str(workspace), ["*.txt"]) == hash_of("z", "a", "é")


@pytest.mark.parametrize("pattern", ["../x", "a/../b", "a/./b", "..", "!..", "!", "a\0b", "\ud800"])
def test_a_pattern_that_steps_out_or_names_nothing_is_refused(workspace: Path, pattern: str) -> None:
    with pytest.raises(ExpressionError, match="hashFiles: the pattern '"):
        hash_files(str(workspace), [pattern])


def test_an_option_that_is_not_there_is_refused(workspace: Path) -> None:
    with pytest.raises(ExpressionError, match="unknown option '--follow'; there is '--follow-symbolic-links'"):
        hash_files(str(workspace), ["--follow", "a"])


def test_what_cannot_be_read_is_an_error_not_a_hash_without_it() -> None:
    """This one is a regular file by its kind, and the kernel refuses to read its beginning, even for root."""
    with pytest.raises(ExpressionError, match=r"hashFiles: '.*/mem' cannot be read: Input/output error"):
        hash_files("/proc/self", ["mem"])


def test_more_files_than_allowed_are_an_error(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "MOST_FILES", 3)
    assert hash_files(str(workspace), ["*.txt"]) == hash_of("z", "a", "é")
    with pytest.raises(ExpressionError, match="more than 3 files match"):
        hash_files(str(workspace), ["**/*.txt"])


def test_a_folder_that_is_excluded_or_cannot_match_is_not_walked_through(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, {f"node_modules/{number}/package.json": "theirs" for number in range(50)})
    monkeypatch.setattr(hashing, "MOST_ENTRIES", 50)
    assert hash_files(str(workspace), ["**/*.json", "!node_modules"]) == hash_of("top")
    assert hash_files(str(workspace), ["*.json"]) == hash_of("top")
    with pytest.raises(ExpressionError, match="more than 50 files and folders to look at"):
        hash_files(str(workspace), ["**/*.json", "!node_modules", "a"])


def test_many_stars_take_no_long_time(tmp_path: Path) -> None:
    write(tmp_path, {"a" * 200 + "/" + "b" * 200: "x"})
    assert hash_files(str(tmp_path), ["*a" * 40 + "*c/**", "**/" * 40 + "*b" * 40 + "*c"]) == ""
    assert hash_files(str(tmp_path), ["**/" * 40 + "*b" * 40]) == hash_of("x")


@settings(deadline=None, max_examples=50)
@given(patterns=st.lists(st.text(alphabet="ab.*?[]!/\\~#-1\n ^") | st.sampled_from(["**", "a/**", "!b", "[z-a]"])))
def test_whatever_the_patterns_are_the_answer_is_a_hash_or_an_expression_error(
    patterns: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "patterns"
    write(folder, {"a": "1", "b/a": "2", "b/[": "3"})
    try:
        answer = hash_files(str(folder), patterns)
    except ExpressionError:
        return
    known = [["1"], ["2"], ["3"], ["1", "2"], ["2", "1"], ["3", "1"], ["1", "3"], ["3", "2"], ["2", "3"]]
    known += [["1", "3", "2"], ["3", "2", "1"], ["1", "2", "3"], ["2", "3", "1"], []]
    assert answer in [hash_of(*texts) for texts in known]
