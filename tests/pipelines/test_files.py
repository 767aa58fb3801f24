"""Pipelines in our own form: what a file says, what is wrong with one and where, and the schema for editors."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator import ConfigError, CycleError
from orchestrator.pipelines.files import KEYS, json_schema, read_pipeline
from orchestrator.pipelines.loading import load_pipeline
from tests.pipelines.acts import endings, results_of, write

WHOLE = """
    name: shop
    env: {LANG: C}
    timeout: 1h
    cwd: src
    stages:
      - name: build
        commands:
          - make
          - |
            for n in 1 2; do
              echo $n
            done
        env: {CFLAGS: -O2}
        timeout: 90s
        memory: 2G
        grace: 5
      - name: unit
        commands: [make unit]
        retry_on_failure: true
        retries: 3
      - name: lint
        commands: [make lint]
        allow_failure: true
      - name: ship
        commands: [make ship]
        depends_on: [unit]
        condition: success() && env.BRANCH == 'main'
        cwd: dist
        artifacts: ["*.whl"]
    parallel_stages:
      - [unit, lint]
"""


def test_a_file_says_all_that_a_pipeline_can_be(tmp_path: Path) -> None:
    config = read_pipeline(write(tmp_path, WHOLE, "shop.yml"))
    build, unit, lint, ship = config.stages
    assert (config.name, config.env, config.timeout, config.cwd) == ("shop", {"LANG": "C"}, 3600.0, f"{tmp_path}/src")
    assert config.parallel_stages == [["unit", "lint"]]
    assert build.commands == ["make", "for n in 1 2; do\n  echo $n\ndone\n"]
    assert (build.env, build.timeout, build.memory_limit, build.grace) == ({"CFLAGS": "-O2"}, 90.0, 2 << 30, 5.0)
    assert (unit.retry_on_failure, unit.retries, lint.allow_failure) == (True, 3, True)
    assert (ship.depends_on, ship.cwd, ship.artifacts) == (["unit"], "dist", ["*.whl"])
    assert ship.condition == "success() && env.BRANCH == 'main'"


def test_toml_says_the_same(tmp_path: Path) -> None:
    text = """
    parallel_stages = [["unit", "lint"]]
    [[stages]]
    name = "unit"
    commands = ["true"]
    timeout = 90
    [[stages]]
    name = "lint"
    commands = ["true"]
    """
    config = read_pipeline(write(tmp_path, text, "shop.toml"))
    assert (config.name, config.cwd) == ("shop", str(tmp_path))
    assert [stage.name for stage in config.stages] == ["unit", "lint"]
    assert config.stages[0].timeout == 90.0


def test_stages_run_in_the_folder_of_their_file_and_a_stage_brings_what_it_waits_for(tmp_path: Path) -> None:
    text = """
    stages:
      - {name: a, commands: [pwd]}
      - {name: b, commands: [echo b]}
      - {name: c, commands: [echo c], depends_on: [a]}
    """
    pipeline = load_pipeline(write(tmp_path, text, "sub dir/pipeline.yml"))
    results = results_of(pipeline, only=["c"])
    assert endings(results) == {"a": "ok", "c": "ok"}
    assert results["a"].output == f"{tmp_path}/sub dir\n"
    with pytest.raises(ConfigError, match="there is no stage 'cc'; did you mean 'c'"):
        load_pipeline(tmp_path / "sub dir" / "pipeline.yml").workflow(only=["cc"])


STAGE = "stages:\n  - name: a\n    commands: [ls]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a pipeline has the key 'stages'"),
        ("- a\n", "a pipeline has the key 'stages'"),
        ("stages: []\n", "line 1: stages: must hold at least one stage"),
        ("stages: {a: 1}\n", "line 1: stages: must be a list of stages, not"),
        (STAGE + "  - name: b\n", "line 4: stages[1]: a stage has the key 'commands'"),
        (STAGE + "    comands: [x]\n", "line 4: stages[0].comands: unknown key; did you mean 'commands'"),
        (STAGE + "stage: 1\n", "line 4: stage: unknown key; did you mean 'stages'"),
        ("stages:\n  - name: a\n    commands: ls\n", "line 3: stages[0].commands: must be a list of text, not 'ls'"),
        ("stages:\n  - name: a\n    commands: ['']\n", "line 3: stages[0].commands[0]: must not be empty"),
        ("stages:\n  - name: a\n    commands: []\n", "stages[0].commands: must hold at least one command"),
        (
            STAGE + "    env: {PORT: 8080}\n",
            "stages[0].env.PORT: must be text, not whole number: quote it",
        ),
        (STAGE + "    env: {FLAG: true}\n", "stages[0].env.FLAG: must be text, not boolean: quote it"),
        (STAGE + "    timeout: soon\n", "line 4: stages[0].timeout: must be a number of seconds above zero"),
        (STAGE + "    allow_failure: yes\n", "line 4: stages[0].allow_failure: must be true or false, not 'yes'"),
        (STAGE + "    condition: success() &&\n", "line 4: stages[0].condition:"),
        (STAGE + "    condition: failed()\n", "did you mean"),
        (STAGE + "    artifacts: [../x]\n", "line 2: stages[0]: the artifact '../x' must be a path below"),
        (STAGE + "    depends_on: [b]\n", "line 2: stages[0]: stage 'a' depends on 'b', which is no stage"),
        (STAGE + "  - name: a\n    commands: [x]\n", "line 4: stages[1]: there are two stages named 'a'"),
        (STAGE + "parallel_stages: [[a, b]]\n", "line 4: parallel_stages[0]: 'b' is no stage"),
        (STAGE + "parallel_stages: [a]\n", "line 4: parallel_stages[0]: must be a list of text"),
        (STAGE + "    name: b\n", "stands twice, first in line 2"),
        (STAGE + "\t- x\n", "indent with spaces, not with tabs"),
        ("a: &a [x]\nb: !!python/object:os.system x\n", "tag"),
        ("jobs: [1]\n", "jobs"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "pipeline.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path)
    assert words in str(caught.value)
    assert "pipeline.yml" in str(caught.value)


def test_stages_in_a_circle_are_told_with_the_path(tmp_path: Path) -> None:
    text = "stages:\n  - {name: a, commands: [x], depends_on: [b]}\n  - {name: b, commands: [x]}\n"
    with pytest.raises(CycleError, match="a -> b -> a"):
        load_pipeline(write(tmp_path, text, "p.yml"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name, words in (("none.yml", "cannot be read"), ("none.toml", "cannot be read"), (".", "is a directory")):
        with pytest.raises(ConfigError, match=words):
            load_pipeline(tmp_path / name)


def test_a_bomb_of_aliases_is_refused_in_bounded_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="values"):
        load_pipeline(write(tmp_path, "\n".join(lines), "bomb.yml"))


# The schema


def test_the_schema_knows_exactly_the_keys_that_are_read() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(KEYS[""])
    assert set(schema["$defs"]["stage"]["properties"]) == set(KEYS["stages"])
    jsonschema.Draft202012Validator.check_schema(schema)


GOOD: list[Any] = [
    yaml.safe_load(textwrap.dedent(WHOLE)),
    {
        "stages": [
            {"name": "a", "commands": ["x"], "timeout": None, "memory": 1000, "retries": None, "depends_on": None}
        ]
    },
    {
        "stages": [{"name": "a", "commands": ["x"], "timeout": "1H30m", "memory": "1.5GiB", "grace": 0}],
        "$schema": "x",
        "env": None,
    },
]
BAD: list[Any] = [
    {},
    {"stages": []},
    {"stages": [{"name": "a"}]},
    {"stages": [{"name": " ", "commands": ["x"]}]},
    {"stages": [{"name": "a", "commands": []}]},
    {"stages": [{"name": "a", "commands": ["x"], "timeout": 0}]},
    {"stages": [{"name": "a", "commands": ["x"], "timeout": "soon"}]},
    {"stages": [{"name": "a", "commands": ["x"], "memory": "lots"}]},
    {"stages": [{"name": "a", "commands": ["x"], "retries": -1}]},
    {"stages": [{"name": "a", "commands": ["x"], "artifacts": ["a/../b"]}]},
    {"stages": [{"name": "a", "commands": ["x"], "artifacts": ["/x"]}]},
    {"stages": [{"name": "a", "commands": ["x"], "env": {"A": 1}}]},
    {"stages": [{"name": "a", "commands": ["x"], "env": {"A=B": "1"}}]},
    {"stages": [{"name": "a", "commands": ["x"], "comands": ["x"]}]},
    {"stages": [{"name": "a", "commands": ["x"]}], "parallel_stages": [["a", "a"]]},
]


@pytest.mark.parametrize("good", [True, False])
def test_the_schema_says_what_reading_says(tmp_path: Path, good: bool) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for number, value in enumerate(GOOD if good else BAD):
        path = tmp_path / f"{number}.yml"
        path.write_text(json.dumps(value), encoding="utf-8")
        assert validator.is_valid(value) is good, value
        if good:
            read_pipeline(path)
        else:
            with pytest.raises(ConfigError):
                read_pipeline(path)
