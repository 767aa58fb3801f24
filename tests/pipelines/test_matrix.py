"""Matrices: the combinations that GitHub makes, their labels, and how many may be."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.exceptions import ConfigError
from orchestrator.pipelines.actions.matrix import MOST_JOBS, combinations, label


def _mistake(matrix: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        combinations(matrix)
    return str(caught.value)


def test_every_value_meets_every_other_the_last_axis_first() -> None:
    assert combinations({"os": ["linux", "mac"], "version": [1, 2]}) == [
        {"os": "linux", "version": 1},
        {"os": "linux", "version": 2},
        {"os": "mac", "version": 1},
        {"os": "mac", "version": 2},
    ]


def test_the_example_of_githubs_documentation_of_include() -> None:
    matrix: dict[str, Any] = {
        "fruit": ["apple", "pear"],
        "animal": ["cat", "dog"],
        "include": [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    }
    assert combinations(matrix) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_an_entry_that_fits_no_combination_is_one_of_its_own_to_which_later_ones_add_nothing() -> None:
    matrix: dict[str, Any] = {"os": ["linux"], "include": [{"os": "mac", "x": 1}, {"os": "mac", "y": 2}, {"z": 3}]}
    assert combinations(matrix) == [{"os": "linux", "z": 3}, {"os": "mac", "x": 1}, {"os": "mac", "y": 2}]


def test_without_axes_the_entries_of_include_are_the_combinations() -> None:
    assert combinations({"include": [{"site": "a", "dc": 1}, {"site": "a"}]}) == [{"site": "a", "dc": 1}, {"site": "a"}]


def test_exclude_takes_away_what_fits_in_part_and_comes_before_include() -> None:
    matrix: dict[str, Any] = {
        "os": ["linux", "mac"],
        "version": [1, 2],
        "exclude": [{"os": "mac"}, {"os": "linux", "version": 1}],
        "include": [{"os": "mac", "version": 2}],
    }
    assert combinations(matrix) == [{"os": "linux", "version": 2}, {"os": "mac", "version": 2}]


def test_when_all_is_excluded_what_is_included_is_left() -> None:
    assert combinations({"os": ["a"], "exclude": [{"os": "a"}], "include": [{"x": 1}]}) == [{"x": 1}]
    assert "leaves no combination" in _mistake({"os": ["a"], "exclude": [{"os": "a"}]})


def test_objects_are_values_of_which_a_part_may_be_asked_for() -> None:
    old, new = {"name": "node", "version": 14}, {"name": "node", "version": 20}
    assert combinations({"tool": [old, new], "exclude": [{"tool": {"version": 14}}]}) == [{"tool": new}]
    assert combinations({"tool": [old, new], "include": [{"tool": {"version": 20}, "x": 1}]}) == [
        {"tool": old},
        {"tool": new, "x": 1},
    ]
    assert combinations({"tool": [[1, 2], [1, 3]], "exclude": [{"tool": [1, 3]}]}) == [{"tool": [1, 2]}]


def test_values_and_keys_are_compared_as_in_an_expression() -> None:
    assert combinations({"os": ["Linux", "mac"], "exclude": [{"OS": "LINUX"}]}) == [{"os": "mac"}]
    assert combinations({"v": ["1", 2], "exclude": [{"v": 1}]}) == [{"v": 2}]
    assert combinations({"Os": ["linux"], "include": [{"oS": "linux", "x": 1}]}) == [{"Os": "linux", "x": 1}]


def test_what_is_given_is_not_changed() -> None:
    include = [{"x": 1}]
    matrix: dict[str, Any] = {"os": ["linux"], "include": include}
    combinations(matrix)[0]["os"] = "changed"
    assert matrix == {"os": ["linux"], "include": [{"x": 1}]}


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ({}, "needs at least one axis with values, or an entry in `include`"),
        ({"include": []}, "needs at least one axis"),
        ({"os": []}, "the axis 'os' is empty"),
        ({"os": "linux"}, "the axis 'os' must be a list of values, not 'linux' (text)"),
        ({"os": None}, "the axis 'os' must be a list of values, not None (null)"),
        ({"os": ["a"], "include": {"x": 1}}, "`include` must be a list of tables"),
        ({"os": ["a"], "include": [{}]}, "`include[0]` must be a table of keys and values, not {} (table)"),
        ({"os": ["a"], "exclude": [{"os": "a"}, "b"]}, "`exclude[1]` must be a table of keys and values"),
        ({"host": ["a"], "exclude": [{"hots": "a"}]}, "`exclude` names 'hots', which is no axis; did you mean 'host'?"),
    ],
)
def test_what_is_no_matrix_is_told(matrix: dict[str, Any], words: str) -> None:
    assert words in _mistake(matrix)


def test_256_jobs_are_the_most() -> None:
    most: list[Any] = list(range(MOST_JOBS))
    assert len(combinations({"n": most})) == MOST_JOBS
    assert _mistake({"n": [*most, -1]}) == "this matrix makes 257 jobs; 256 is the most, here and on GitHub"
    assert "makes 257 jobs" in _mistake({"n": most, "include": [{"n": -1}]})
    assert len(combinations({"n": [*most, -1], "exclude": [{"n": -1}]})) == MOST_JOBS
    assert "makes 399 jobs" in _mistake({"n": list(range(400)), "exclude": [{"n": 7}]})


@pytest.mark.parametrize("excludes", [[], [{"a0": 1}], [{"a0": n} for n in range(500)]])
def test_a_matrix_of_very_many_jobs_is_told_with_their_number_and_never_built(excludes: list[Any]) -> None:
    matrix: dict[str, Any] = {f"a{i}": list(range(10)) for i in range(12)} | {"exclude": excludes}
    before = time.monotonic()
    assert str(10**12) in _mistake(matrix)
    assert time.monotonic() - before < 5


def test_very_many_entries_of_include_are_told_before_they_are_compared() -> None:
    assert "too many to compare" in _mistake({"n": list(range(200)), "include": [{"x": 1}] * 10_000})


def test_a_label_has_the_values_that_are_no_additions_and_the_leaves_of_objects() -> None:
    matrix: dict[str, Any] = {
        "os": ["ubuntu-latest"],
        "tool": [{"name": "node", "tags": [1.0, True]}, {"name": "", "tags": None}],
        "include": [{"os": "ubuntu-latest", "extra": "hidden"}, {"extra": "shown", "os": "mac"}],
    }
    assert [label(combination) for combination in combinations(matrix)] == [
        "ubuntu-latest, node, 1, true",
        "ubuntu-latest",
        "mac, shown",
    ]
    assert label({"a": 3.12, "b": "x"}) == "3.12, x"


_VALUES = st.sampled_from(["a", "b", "c"])
_AXES = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.lists(_VALUES, min_size=1, max_size=3, unique=True))
_ENTRIES = st.lists(st.dictionaries(st.sampled_from(["x", "y", "z", "p", "q"]), _VALUES, min_size=1), max_size=5)


@given(_AXES.filter(bool), _ENTRIES)
def test_include_never_changes_a_value_of_an_axis_and_loses_no_combination(
    axes: dict[str, list[str]], include: list[dict[str, str]]
) -> None:
    made = combinations({**axes, "include": [*include]})
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    assert [{key: one[key] for key in axes} for one in made[: len(product)]] == product
    for one in made[len(product) :]:
        assert one in include
    for entry in include:
        added = {key: value for key, value in entry.items() if key not in axes}
        fitting = [one for one in product if all(one[key] == entry[key] for key in axes if key in entry)]
        assert bool(fitting) != (entry in made[len(product) :])
        assert (
            not added or not fitting or all(set(added) <= set(one) for one in made if fitting[0].items() <= one.items())
        )
