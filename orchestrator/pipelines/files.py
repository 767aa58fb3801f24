"""Pipelines in our own form, YAML or TOML, read into a PipelineConfig. `schema.json` tells editors the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from typing import Any

from orchestrator.config import checks
from orchestrator.config.places import Place, found
from orchestrator.config.syntax import read_text, read_toml
from orchestrator.config.yaml_syntax import read_document
from orchestrator.exceptions import ConfigError, PipelineError
from orchestrator.pipelines.model import PipelineConfig, StageConfig


def read_pipeline(path: str | os.PathLike[str]) -> PipelineConfig:
    """Return the pipeline of a file: TOML if its name ends in `.toml`, else YAML.

    Its name is that of the file, without suffix, if it says no other; its stages run in the file's folder if it names
    no `cwd`. Timeouts are seconds or text such as "90s", memory is bytes or text such as "2G".

    Raises ConfigError for a file that cannot be read and for every mistake, with its place; CycleError for stages that
    wait for each other.
    """
    file = os.fspath(path)
    text = read_text(file, file)
    folder = os.path.dirname(os.path.abspath(file))
    if file.endswith(".toml"):
        value, lines = read_toml(text, file), {}
    else:
        document = read_document(text, file)
        value, lines = document.value, document.lines
    place = Place(file, folder, (), lines)
    if not isinstance(value, Mapping) or "stages" not in value:
        raise place.mistake("a pipeline has the key 'stages', a list; a workflow of GitHub's has 'jobs'")
    given = checks.table(value, place, _PIPELINE)
    stages = [_stage_of(stage, place.at("stages").at(index)) for index, stage in enumerate(given["stages"])]
    name = given.get("name") or os.path.splitext(os.path.basename(file))[0]
    try:
        return PipelineConfig(
            stages,
            given.get("parallel_stages", []),
            name=name,
            env=given.get("env", {}),
            timeout=given.get("timeout"),
            cwd=given.get("cwd", folder),
        )
    except PipelineError as error:
        raise _placed(error, place, given) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the form (draft 2020-12), which editors complete and check by."""
    text = resources.files("orchestrator.pipelines").joinpath("schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _placed(error: PipelineError, place: Place, given: Mapping[str, Any]) -> ConfigError:
    """Return a mistake in how stages name each other, with the place of the one that it is about."""
    message = str(error)
    for key in ("parallel_stages", "stages"):
        for index in range(len(given.get(key, []))):
            if message.startswith(f"{key}[{index}]: "):
                return place.at(key).at(index).mistake(message.removeprefix(f"{key}[{index}]: "))
    named = [(index, stage["name"]) for index, stage in enumerate(given["stages"])]
    for index, name in reversed(named):
        if repr(name) in message:
            return place.at("stages").at(index).mistake(message)
    return place.mistake(message)


def _stage_of(given: Mapping[str, Any], place: Place) -> StageConfig:
    kept = ("name", "commands", "memory")
    terms = {key: value for key, value in given.items() if key not in kept and (key, value) != ("grace", None)}
    try:
        return StageConfig(given["name"], given["commands"], memory_limit=given.get("memory"), **terms)
    except ValueError as error:
        message = str(error).removeprefix(f"stage {given['name']!r}: ")
        if message.startswith("condition: "):
            raise place.at("condition").mistake(message.removeprefix("condition: ")) from None
        raise place.mistake(message) from None


def _stages(value: Any, place: Place) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise place.mistake(f"must be a list of stages, not {found(value)}")
    if not value:
        raise place.mistake("must hold at least one stage")
    return [_stage(item, place.at(index)) for index, item in enumerate(value)]


def _stage(value: Any, place: Place) -> dict[str, Any]:
    stage = checks.table(value, place, _STAGE)
    for key in ("name", "commands"):
        if key not in stage:
            raise place.mistake(f"a stage has the key {key!r}, and this one has not")
    return stage


def _commands(value: Any, place: Place) -> list[str]:
    commands: list[str] = checks.list_of(checks.words)(value, place)
    if not commands:
        raise place.mistake("must hold at least one command")
    return commands


def _flag(value: Any, place: Place) -> bool:
    if not isinstance(value, bool):
        raise place.mistake(f"must be true or false, not {found(value)}")
    return value


def _grace(value: Any, place: Place) -> float | None:
    return 0.0 if value == 0 and not isinstance(value, bool) else checks.or_null(checks.seconds)(value, place)


def _groups(value: Any, place: Place) -> list[list[str]]:
    if not isinstance(value, list):
        raise place.mistake(f"must be a list of lists of stages, not {found(value)}")
    return [checks.list_of(checks.words)(group, place.at(index)) for index, group in enumerate(value)]


_STAGE: dict[str, checks.Check] = {
    "name": checks.words,
    "commands": _commands,
    "env": checks.env,
    "timeout": checks.or_null(checks.seconds),
    "retry_on_failure": _flag,
    "depends_on": checks.or_null(checks.list_of(checks.words)),
    "cwd": checks.words,
    "allow_failure": _flag,
    "retries": checks.or_null(checks.whole(0)),
    "condition": checks.text,
    "artifacts": checks.list_of(checks.words),
    "memory": checks.or_null(checks.amount),
    "grace": _grace,
}
_PIPELINE: dict[str, checks.Check] = {
    "$schema": checks.text,
    "name": checks.words,
    "stages": _stages,
    "parallel_stages": _groups,
    "env": checks.env,
    "timeout": checks.or_null(checks.seconds),
    "cwd": checks.path,
}
KEYS = {"": tuple(_PIPELINE), "stages": tuple(_STAGE)}
"""The keys of a pipeline and of a stage."""
