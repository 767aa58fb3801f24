"""A workflow file of GitHub Actions, read into the values of `model`. Nothing runs here.

`read_workflow` is for what lists and runs workflows. Every mistake is a ConfigError with file, line and key, found
before anything runs; everything that will not happen as on GitHub is a note, as `keys.KEYS` decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from orchestrator.config.places import Keys, Place, cut, found, hint
from orchestrator.config.syntax import read_text
from orchestrator.config.yaml_syntax import Document, read_document
from orchestrator.dag.plan import Plan
from orchestrator.exceptions import ConfigError, CycleError
from orchestrator.pipelines.actions import fields
from orchestrator.pipelines.actions.expressions import Template, parse_condition, text_of
from orchestrator.pipelines.actions.fields import Spot, optional
from orchestrator.pipelines.actions.matrix import combinations
from orchestrator.pipelines.actions.model import (
    JobDefinition,
    Matrix,
    Run,
    Strategy,
    WorkflowFile,
)
from orchestrator.pipelines.actions.steps import read_steps
from orchestrator.wording import visible

_FOR_STEPS = ("runs-on", "env", "environment", "defaults", "outputs", "timeout-minutes", "continue-on-error")
_FOR_CALLS = ("with", "secrets")

_NO_TEXT_MEANT = {"on", "timeout-minutes", "cancel-timeout-minutes", "max-parallel", "with", "container", "services"}
"""Under these it does not matter how a number is written."""


def is_workflow(value: Any) -> bool:
    """Say whether a value read from YAML looks like a workflow of GitHub Actions: it has jobs.

    >>> is_workflow({"on": "push", "jobs": {}}), is_workflow({"stages": []}), is_workflow(["jobs"])
    (True, False, False)
    """
    return isinstance(value, dict) and "jobs" in value


def read_workflow(path: str | os.PathLike[str]) -> WorkflowFile:
    """Return what a workflow file says.

    Raises ConfigError for a file that cannot be read and for every mistake in it, with its place; CycleError for jobs
    that need each other in a circle, with the path.
    """
    file = os.fspath(path)
    document = read_document(read_text(file, file), file)
    place = Place(file, os.path.dirname(os.path.abspath(file)), (), document.lines)
    spot = Spot(place, "", [], [])
    if document.value is None:
        raise spot.mistake("is empty: a workflow has `on` and `jobs`")
    said = fields.table(document.value, spot)
    if "on" in said:
        _check_events(said["on"], spot.at("on"))
    else:
        spot.note("warning", "there is no `on`, without which GitHub never runs it")
    name = optional(fields.text, said, "name", spot)
    optional(fields.template, said, "run-name", spot)
    environment = fields.variables(said.get("env"), spot.at("env"))
    defaults = fields.run_defaults(said.get("defaults"), spot.at("defaults"), Run())
    concurrency = optional(fields.concurrency, said, "concurrency", spot)
    jobs = _jobs(said, spot, defaults)
    _note_numbers(document, spot)
    return WorkflowFile(
        path=file,
        name=name or file,
        env=environment,
        jobs=jobs,
        concurrency=concurrency,
        notes=tuple(spot.notes),
    )


def _check_events(value: Any, spot: Spot) -> None:
    """Look at `on` as far as it says that this is a workflow: a name, names, or a table of names."""
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, dict)) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise spot.mistake(f"must be an event, a list of events or a table of them, not {found(value)}")


def _jobs(said: Mapping[str, Any], spot: Spot, defaults: Run) -> dict[str, JobDefinition]:
    there = spot.at("jobs")
    if not said.get("jobs"):
        raise (there if "jobs" in said else spot).mistake("there are no jobs: a workflow needs one at least in `jobs`")
    written = fields.mapping(said["jobs"], there)
    ids: dict[str, str] = {}
    for name in written:
        at = there.at(name, "jobs.<id>")
        fields.identifier(name, at)
        if name.lower() in ids:
            raise at.mistake(f"the job {ids[name.lower()]!r} has the same id, for case does not matter in one")
        ids[name.lower()] = name
    jobs = {name: _job(name, job, there, ids, defaults) for name, job in written.items()}
    try:
        Plan({name: job.needs for name, job in jobs.items()})
    except CycleError as error:
        raise CycleError(f"{visible(spot.place.file)}: {error}") from None
    return jobs


def _job(name: str, value: Any, jobs: Spot, ids: Mapping[str, str], outer: Run) -> JobDefinition:
    refusals = list(jobs.refusals)  # those of the whole file, which hold for each job
    spot = Spot(jobs.place.at(name), "jobs.<id>", jobs.notes, refusals)
    said = fields.table(value, spot)
    calls = "uses" in said
    if calls == ("steps" in said):
        both = "both" if calls else "neither"
        raise spot.mistake(f"a job has either `steps` or `uses`, a workflow that it calls; this one has {both}")
    for key in _FOR_STEPS if calls else _FOR_CALLS:
        if key in said:
            raise spot.at(key).mistake(f"belongs to a job with `{'steps' if calls else 'uses'}`; this one has none")
    if calls:
        fields.words(said["uses"], spot.at("uses"))
    elif "runs-on" not in said:
        raise spot.mistake("needs `runs-on`, the labels of the machine, as in `runs-on: ubuntu-latest`")
    if "environment" in said:
        _check_environment(said["environment"], spot.at("environment"))
    defaults = fields.run_defaults(said.get("defaults"), spot.at("defaults"), outer)
    job_name = optional(fields.template, said, "name", spot)
    needs = _needs(said.get("needs"), spot.at("needs"), ids)
    condition = optional(fields.condition, said, "if", spot)
    environment = fields.variables(said.get("env"), spot.at("env"))
    strategy = _strategy(said.get("strategy"), spot.at("strategy"))
    timeout = optional(fields.minutes, said, "timeout-minutes", spot)
    forgiving = optional(fields.flag, said, "continue-on-error", spot)
    outputs = _outputs(said.get("outputs"), spot.at("outputs"))
    concurrency = optional(fields.concurrency, said, "concurrency", spot)
    return JobDefinition(
        id=name,
        name=job_name,
        needs=needs,
        condition=condition or parse_condition(""),
        env=environment,
        defaults=defaults,
        strategy=strategy,
        timeout_minutes=timeout,
        continue_on_error=forgiving,
        outputs=outputs,
        concurrency=concurrency,
        runs_on=_labels(said["runs-on"], spot.at("runs-on")) if not calls else (),
        steps=read_steps(said["steps"], spot.at("steps"), defaults) if not calls else (),
        refusal=refusals[0] if refusals else None,
        place=fields.written(spot.place),
    )


def _check_environment(value: Any, spot: Spot) -> None:
    if not isinstance(value, dict):
        fields.filled_template(value, spot)
        return
    said = fields.table(value, spot)
    if "name" not in said:
        raise spot.mistake("needs `name`, the name of the environment")
    fields.filled_template(said["name"], spot.at("name"))
    optional(fields.template, said, "url", spot)


def _needs(value: Any, spot: Spot, ids: Mapping[str, str]) -> tuple[str, ...]:
    if value is None:
        return ()
    needs: dict[str, None] = {}
    for name, there in fields.texts(value, spot):
        if name.lower() not in ids:
            raise there.mistake(f"there is no job {cut(repr(name))}{hint(name, ids.values())}")
        needs[ids[name.lower()]] = None
    return tuple(needs)


def _labels(value: Any, spot: Spot) -> tuple[Template, ...]:
    if isinstance(value, dict):
        said = fields.table(value, spot)
        if not said:
            raise spot.mistake("needs `labels` or `group`")
        optional(fields.filled_template, said, "group", spot)
        return _labels(said["labels"], spot.at("labels")) if "labels" in said else ()
    if not isinstance(value, list):
        return (fields.filled_template(value, spot),)
    if not value:
        raise spot.mistake("must name one label at least")
    return tuple(fields.filled_template(item, spot.at(index, spot.key)) for index, item in enumerate(value))


def _outputs(value: Any, spot: Spot) -> dict[str, Template]:
    outputs = {}
    for name, inner in fields.mapping(value, spot).items():
        there = spot.at(name, spot.key)
        fields.identifier(name, there)
        outputs[name] = fields.template(inner, there)
    return outputs


def _strategy(value: Any, spot: Spot) -> Strategy:
    said = fields.table(value, spot)
    fail_fast = said.get("fail-fast")
    return Strategy(
        matrix=optional(_matrix, said, "matrix", spot),
        fail_fast=True if fail_fast is None else fields.known_flag(fail_fast, spot.at("fail-fast")),
        max_parallel=optional(fields.most, said, "max-parallel", spot),
    )


def _matrix(value: Any, spot: Spot) -> Matrix | Template:
    if isinstance(value, str):
        return _one_expression(value, spot, "a table of axes")
    said = fields.mapping(value, spot)
    axes: dict[str, list[Any] | Template] = {}
    for name, inner in said.items():
        if not name or "${{" in name:
            raise spot.at(name).mistake("an axis needs a name, which is no expression")
        if name not in ("include", "exclude"):
            axes[name] = _list(inner, spot.at(name), "a list of values")
    include = _entries(said, "include", spot)
    exclude = _entries(said, "exclude", spot)
    if not _waits(said):
        try:
            combinations(said)
        except ConfigError as error:
            raise spot.mistake(str(error)) from None
    return Matrix(axes, include, exclude)


def _entries(said: Mapping[str, Any], name: str, spot: Spot) -> tuple[Mapping[str, Any], ...] | Template:
    """Return `include` or `exclude`: tables, or an expression that gives them."""
    if said.get(name) is None:
        return ()
    there = spot.at(name)
    entries = _list(said[name], there, "a list of tables")
    if isinstance(entries, Template):
        return entries
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise there.at(index, there.key).mistake(f"must be a table of keys and values, not {found(entry)}")
    return tuple(entries)


def _list(value: Any, spot: Spot, kind: str) -> list[Any] | Template:
    if isinstance(value, str):
        return _one_expression(value, spot, kind)
    if not isinstance(value, list):
        raise spot.mistake(f"must be {kind}, or one expression that gives it, not {found(value)}")
    _check_texts(value, spot)
    return value


def _one_expression(value: str, spot: Spot, kind: str) -> Template:
    parsed = fields.template(value, spot)
    if parsed.is_plain or len(parsed.parts) > 1:
        raise spot.mistake(f"must be {kind}, or one expression that gives it, not {found(value)}")
    return parsed


def _check_texts(value: Any, spot: Spot) -> None:
    """See to it that the expressions in a value of a matrix, on any level, can be asked."""
    if isinstance(value, str):
        fields.template(value, spot)
    elif isinstance(value, (list, dict)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_texts(inner, spot.at(key, spot.key))


def _waits(value: Any) -> bool:
    """Say whether there is an expression in a value: what it is will be known only when the job is due."""
    if isinstance(value, dict):
        return any(map(_waits, value.values()))
    return any(map(_waits, value)) if isinstance(value, list) else isinstance(value, str) and "${{" in value


def _note_numbers(document: Document, spot: Spot) -> None:
    """Warn of each number that is another text than it is written as."""
    for keys, digits in document.numbers.items():
        value = text_of(_at(document.value, keys))
        if value != digits and not _NO_TEXT_MEANT.intersection(keys):
            there = Spot(Place(spot.place.file, spot.place.folder, keys, spot.place.lines), "", spot.notes, [])
            there.note("warning", f"{digits} is the number {value}: quote it to keep it as it is written")


def _at(value: Any, keys: Keys) -> Any:
    for key in keys:
        value = value[key]
    return value
