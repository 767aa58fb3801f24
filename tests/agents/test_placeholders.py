"""What stands for a task or a result in a text, and what is only a brace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.placeholders import filled, names_in


@given(st.text(), st.text())
def test_the_task_is_put_in_once_and_nothing_else_changes(before: str, task: str) -> None:
    plain = before.replace("{task}", "")
    while "{task}" in plain or "{result of " in plain:
        plain = plain.replace("{", "")
    assert filled(plain + "{task}" + "|", {}, task) == f"{plain}{task}|"
    assert filled(task, {}) == task


def test_only_the_two_forms_are_places() -> None:
    text = (
        "{task.x} {task!r} {task:>9} { task } {Task} {0} {} {{x}} {result} {result of } {result  of a} {results of a}"
    )
    assert filled(text, {"a": "A", "": "?"}, "T") == text
    assert names_in(text) == ()
    assert filled("{{task}} {{result of a}}", {"a": "A"}, "T") == "{T} {A}"


def test_names_are_taken_as_they_are() -> None:
    assert names_in("{result of my task: 1/2 ☃}", "{result of  x }{result of my task: 1/2 ☃}") == (
        "my task: 1/2 ☃",
        " x ",
    )
