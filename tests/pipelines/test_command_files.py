"""The files in which a step tells what is to hold for later ones: their syntax, and what a step may do to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Ending
from orchestrator.pipelines.actions.command_files import MOST_BYTES, CommandFileError, CommandFiles, Told, pairs_of
from tests.pipelines.acts import ran, steps_of


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("\n\na=1\n\n", {"a": "1"}),
        ("a=\n", {"a": ""}),
        ("a=1\na=2\n", {"a": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ("url=x<<y\n", {"url": "x<<y"}),
        ("a<<E=F\none\nE=F\nb=2\n", {"a": "one", "b": "2"}),
        ("a<<E\nE\n", {"a": ""}),
        ("a<<E\n\nb=1\n\nE", {"a": "\nb=1\n"}),
        ("a<<E\r\none\r\ntwo\r\nE\r\nb=2\r\n", {"a": "one\ntwo", "b": "2"}),
        (" a =  b ", {" a ": "  b "}),
    ],
)
def test_names_and_values_are_read_as_they_stand(text: str, pairs: dict[str, str]) -> None:
    assert pairs_of(text, "GITHUB_OUTPUT") == pairs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=1\nb\n", "GITHUB_ENV, line 2: 'b' is neither"),
        ("a=1\n\nb<<E\nx\n", "GITHUB_ENV, line 3: the value of 'b' does not end: no line is 'E'"),
        ("b<<\nx\n\n", "GITHUB_ENV, line 1: the value of 'b' does not end: no line is ''"),
        ("a<<E\nE \n", "GITHUB_ENV, line 1: the value of 'a' does not end"),
        ("a=1\n =2\n", "GITHUB_ENV, line 2: a value without a name"),
        ("<<E\nx\nE\n", "a value without a name"),
        ("x" * 1000, "'" + "x" * 80 + "'"),
    ],
)
def test_what_nobody_can_read_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(CommandFileError) as caught:
        pairs_of(text, "GITHUB_ENV")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_files_of_a_step_are_new_and_empty_and_hold_as_much_as_github_reads(tmp_path: Path) -> None:
    files = CommandFiles(str(tmp_path), 1)
    CommandFiles(str(tmp_path), 2)
    assert files.read() == Told({}, {}, (), "")
    assert sorted(files.variables) == ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"]
    with pytest.raises(FileExistsError):
        CommandFiles(str(tmp_path), 1)
    path = Path(files.variables["GITHUB_PATH"])
    path.write_text("x" * MOST_BYTES)
    assert [len(folder) for folder in files.read().path] == [MOST_BYTES]
    path.write_text("x" * (MOST_BYTES + 1))
    with pytest.raises(CommandFileError, match="GITHUB_PATH has more than 1 MiB"):
        files.read()


def test_a_byte_order_mark_is_no_part_of_a_name_and_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    files = CommandFiles(str(tmp_path), 1)
    Path(files.variables["GITHUB_OUTPUT"]).write_bytes("\ufeffa=1\n".encode() + b"b=\xff\n")
    Path(files.variables["GITHUB_PATH"]).write_bytes(b"/one\n\n/two\n")
    assert files.read() == Told({}, {"a": "1", "b": "\ufffd"}, ("/one", "/two"), "")


def test_a_file_that_was_removed_tells_nothing_and_one_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("TOKEN=1\n")
    results = ran(
        tmp_path,
        """
        removes:
          runs-on: x
          steps: [{run: rm "$GITHUB_ENV" "$GITHUB_OUTPUT" "$GITHUB_PATH" "$GITHUB_STEP_SUMMARY"}, {run: echo on}]
        links:
          runs-on: x
          steps: [{run: 'ln -sf "$PWD/secret" "$GITHUB_ENV"'}, {if: always(), run: 'echo "[$TOKEN]"'}]
        """,
    )
    assert (results["removes"].ending, results["removes"].output) == (Ending.OK, "on\n")
    assert (results["links"].ending, results["links"].output) == (Ending.RAISED, "[]\n")
    assert "GITHUB_ENV is no regular file any more" in results["links"].error


def test_folders_for_programs_are_searched_the_newest_first_and_before_those_of_the_machine(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        x:
          runs-on: x
          steps:
            - run: |
                for n in 1 2 3; do mkdir bin$n; printf "#!/bin/sh\\necho $n" > bin$n/mine; chmod +x bin$n/mine; done
                printf '#!/bin/sh\\necho mine' > bin3/ls; chmod +x bin3/ls
                echo "$PWD/bin1" >> "$GITHUB_PATH"; echo "$PWD/bin2" >> "$GITHUB_PATH"
            - run: mine; echo "$PWD/bin3" >> "$GITHUB_PATH"
            - run: mine; ls
            - run: mine; echo "${PATH##*:}"
              env: {PATH: "/usr/bin:/bin:/last"}
        """,
    )["x"]
    assert [step.output for step in result.stages] == ["", "2\n", "3\nmine\n", "3\n/last\n"], result.error


def test_what_a_step_that_fails_has_told_holds_and_a_mistake_in_it_hides_no_failure(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        tells:
          runs-on: x
          outputs: {o: "${{ steps.s.outputs.o }}"}
          steps:
            - id: s
              run: echo o=1 >> $GITHUB_OUTPUT; echo W=word >> $GITHUB_ENV; echo sum >> $GITHUB_STEP_SUMMARY; exit 3
            - {if: failure(), run: 'echo "$W ${{ steps.s.outputs.o }}"'}
        after:
          needs: tells
          if: always()
          runs-on: x
          steps: [{run: 'echo "got ${{ needs.tells.outputs.o }}"'}]
        mistakes:
          runs-on: x
          steps: [{name: both, run: echo nonsense >> $GITHUB_ENV; exit 3}]
        """,
    )
    assert (results["tells"].output, results["tells"].value.summary) == ("word 1\n", "sum\n")
    assert results["after"].output == "got 1\n"
    assert (results["mistakes"].return_code, steps_of(results["mistakes"])) == (3, {"both": "raised"})
    assert "nonsense" not in results["mistakes"].error


def test_no_variable_of_a_workflow_leads_a_step_to_other_files(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        x:
          runs-on: x
          env: {GITHUB_OUTPUT: "${{ github.workspace }}/mine"}
          outputs: {o: "${{ steps.s.outputs.o }}"}
          steps: [{id: s, run: echo o=1 >> $GITHUB_OUTPUT}]
        """,
    )["x"]
    assert result.value.outputs == {"o": "1"}
    assert not (tmp_path / "mine").exists()
