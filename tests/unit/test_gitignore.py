"""What git ignores is left out: against git itself, on real files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tree import found, git, write

GUARD = 'if __name__ == "__main__":\n    main()\n'
SHELL = "#!/bin/sh\n"


def git_keeps(root: Path) -> list[str]:
    """Return what git does not ignore of the `*.py` files, none of which is tracked."""
    listed = git(root, "ls-files", "-z", "--others", "--exclude-standard", "*.py")
    return sorted(map(os.fsdecode, filter(None, listed.split(b"\0"))))


# What git ignores.


IGNORED_TREE = [
    *("a.py", "b.py", "keep.py", "x y.py", "end .py", "#a.py", "!a.py", "[a].py", "a\\b.py", "c1.py", "cx.py", "é.py"),
    *("sub/a.py", "sub/b.py", "sub/keep.py", "sub/deep/a.py", "sub/deep/keep.py", "out/a.py", "out/keep.py"),
    *("out/sub/keep.py", "lib/out/a.py", "lib/deep/out/a.py", "lib/a.py", "a/a.py", "a/b/a.py"),
]


@pytest.mark.parametrize(
    "lines",
    [
        "a.py",
        "/a.py",
        "a.py/",
        "out/",
        "out",
        "/out/\n!/out/keep.py",
        "out/*\n!out/keep.py",
        "out/**\n!out/keep.py",
        "*\n!*/\n!keep.py",
        "*\n!keep.py",
        "/*\n!/sub/\n/sub/*\n!/sub/deep",
        "*.py\n!sub/\n!sub/a.py",
        "**/out/",
        "lib/**/out",
        "sub/**/a.py",
        "**",
        "**/",
        "*/",
        "/*/",
        "/**",
        "**/*",
        "**/deep/**",
        "sub/**/",
        "a",
        "a/\n!a",
        "!a.py",
        "# a.py\n\n   \n\\#a.py",
        "\\!a.py",
        "!!a.py",
        "x y.py   ",
        "end\\ .py",
        "[a].py",
        "\\[a\\].py",
        "[[]a].py",
        "c[0-9].py",
        "c[!0-9].py",
        "c[^0-9].py",
        "c[[:digit:]].py\nsub/[[:alpha:]].py",
        "c[z-a].py",
        "c[.py",
        "a\\\\b.py",
        "a\\",
        "?1.py",
        "sub?a.py",
        "s*b/a.py",
        "sub[!x]a.py\nsub/deep[!x]a.py",
        "é.py",
        "a.py\r\nb.py\r",
        "out/\r\nlib/\r\n",
        "out/  \nlib/ ",
        "*\r\n!keep.py\r\n!*/ \n",
        "\ufeffa.py",
        "/",
        "!",
        "//",
        "sub//",
        "./a.py",
        "***",
        "sub/***",
    ],
)
def test_what_a_gitignore_says_is_what_git_makes_of_it(tmp_path: Path, lines: str) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, *IGNORED_TREE)
    (tmp_path / ".gitignore").write_bytes(lines.encode())
    assert found(tmp_path) == git_keeps(tmp_path)


def test_deeper_gitignores_win_and_those_above_the_root_count(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, *IGNORED_TREE, *(f"sub/deep/{name}.py" for name in "bcdef"))
    write(tmp_path, ".git/info/exclude", text="b.py\n/sub/deep/f.py\n")
    write(tmp_path, ".gitignore", text="a.py\n/sub/deep/c.py\n/out/\n")
    write(tmp_path, "sub/.gitignore", text="!a.py\n/deep/d.py\nkeep.py\n")
    write(tmp_path, "sub/deep/.gitignore", text="!b.py\n!/keep.py\n")
    write(tmp_path, "out/.gitignore", text="!keep.py\n")
    assert found(tmp_path) == git_keeps(tmp_path)
    for root in ("sub", "sub/deep"):
        assert found(tmp_path / root) == git_keeps(tmp_path / root)
    assert found(tmp_path / "sub/deep") == ["a.py", "b.py", "e.py", "keep.py"]


def test_without_a_repository_only_the_gitignores_from_the_root_on_count(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*\n")
    write(tmp_path, "root/.gitignore", text="a.py\n")
    write(tmp_path, "root/a.py", "root/b.py")
    assert found(tmp_path / "root") == ["b.py"]


def test_the_exclude_file_of_a_repository_counts_in_its_other_work_trees(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", "-q", str(other))
    write(main, ".git/info/exclude", text="a.py\n")
    write(other, "a.py", "b.py")
    assert found(other) == git_keeps(other) == ["b.py"]


def test_a_gitignore_that_is_a_link_or_a_folder_does_not_count(tmp_path: Path) -> None:
    """As in git, since 2.32."""
    git(tmp_path, "init", "-q")
    write(tmp_path, "rules", text="*\n")
    write(tmp_path, "a.py", "sub/.gitignore/x", "sub/b.py")
    (tmp_path / ".gitignore").symlink_to("rules")
    assert found(tmp_path) == git_keeps(tmp_path) == ["a.py", "sub/b.py"]


def test_to_gitignore_a_link_is_no_folder(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, ".gitignore", text="as_folder/\nas_file\n")
    write(tmp_path, ".real/a.py", ".real2/b.py")
    (tmp_path / "as_folder").symlink_to(".real")
    (tmp_path / "as_file").symlink_to(".real2")
    assert found(tmp_path) == ["as_folder/a.py"]
    assert git(tmp_path, "ls-files", "--others", "--exclude-standard", "as*") == b"as_folder\n"


_segments = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "[!a]"])
_lines = st.builds(
    lambda sign, start, segments, end: sign + start + "/".join(segments) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(_segments, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", ".py"]),
)
_folders = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map(lambda parts: "".join(f"{p}/" for p in parts))


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.tuples(_folders, st.sampled_from(["a.py", "b.py", "ab.py"])), min_size=1, max_size=12),
    st.dictionaries(_folders, st.lists(_lines, max_size=5), max_size=3),
)
def test_any_gitignores_leave_out_what_git_ignores(
    files: set[tuple[str, str]], gitignores: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        git(root, "init", "-q")
        write(root, *(place + name for place, name in files))
        for place, lines in gitignores.items():
            write(root, f"{place}.gitignore", text="\n".join(lines))
        assert found(root) == git_keeps(root)
