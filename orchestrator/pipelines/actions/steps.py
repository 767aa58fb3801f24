"""The steps of a job, read into the values of `model`. Called by `reading`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.config.places import cut, found
from orchestrator.pipelines.actions import fields
from orchestrator.pipelines.actions.expressions import Template, parse_condition
from orchestrator.pipelines.actions.fields import Spot, optional
from orchestrator.pipelines.actions.keys import shell_verdict
from orchestrator.pipelines.actions.model import Note, Run, StepDefinition

_KINDS = ("run", "uses", "wait", "wait-all", "cancel")
_FOR_RUN = ("shell", "working-directory")

_ACTION = re.compile(r"docker://\S+|\./\S*|\.\\\S*|[^/@\s]+/[^@\s]+@\S+")

_ANOTHER_TREE = ("repository", "ref", "path", "submodules", "sparse-checkout", "lfs")
"""What `actions/checkout` can be asked for that the present tree may not be."""


def read_steps(value: Any, spot: Spot, defaults: Run) -> tuple[StepDefinition, ...]:
    """Return the steps of a job; their ids differ, whatever their case."""
    if not isinstance(value, list) or not value:
        raise spot.mistake(f"must be a list of one step at least, not {found(value)}")
    ids: dict[str, int] = {}
    steps = []
    for number, step in enumerate(value, 1):
        there = Spot(spot.place.at(number - 1), "jobs.<id>.steps[*]", spot.notes, [])
        steps.append(_step(number, step, there, defaults))
        name = steps[-1].id
        if name is not None and ids.setdefault(name.lower(), number) != number:
            raise there.at("id").mistake(
                f"step {ids[name.lower()]} has the id {name!r} too; case does not matter in one"
            )
    return tuple(steps)


def _step(number: int, value: Any, spot: Spot, defaults: Run) -> StepDefinition:
    said = fields.table(value, spot)
    kinds = [kind for kind in _KINDS if kind in said]
    if len(kinds) != 1:
        those = f"both `{kinds[0]}` and `{kinds[1]}`" if kinds else "neither"
        raise spot.mistake(f"a step has either `run`, a script, or `uses`, an action; this one has {those}")
    for key in ("with",) if kinds[0] == "run" else _FOR_RUN:
        if key in said:
            belongs = "uses" if key == "with" else "run"
            raise spot.at(key).mistake(f"belongs to a step with `{belongs}`; this one has `{kinds[0]}`")
    uses = fields.words(said["uses"], spot.at("uses")) if "uses" in said else None
    there = Spot(spot.place, spot.key, spot.notes, spot.refusals, used=kinds[0] == "run")
    inputs = fields.variables(said.get("with"), there.at("with"))
    name = optional(fields.template, said, "name", there)
    shell = optional(fields.shell, said, "shell", there)
    run = fields.template(said["run"], there.at("run")) if "run" in said else None
    if run is not None and not run.text.strip():
        raise spot.at("run").mistake("is empty: write a script")
    step_id = fields.identifier(said["id"], spot.at("id")) if "id" in said else None
    condition = optional(fields.condition, said, "if", there)
    environment = fields.variables(said.get("env"), there.at("env"))
    forgiving = optional(fields.flag, said, "continue-on-error", there)
    timeout = optional(fields.minutes, said, "timeout-minutes", there)
    directory = optional(fields.filled_template, said, "working-directory", there)
    if run is not None:
        _refuse_shell(shell or defaults.shell, spot)
    skip, no_op = _action(uses, inputs, spot.at("uses")) if uses is not None else (None, None)
    return StepDefinition(
        place=fields.written(spot.place),
        number=number,
        id=step_id,
        name=name,
        run=run,
        shell=shell,
        working_directory=directory,
        env=environment,
        condition=condition or parse_condition(""),
        continue_on_error=forgiving,
        timeout_minutes=timeout,
        uses=uses,
        skip=skip,
        no_op=no_op,
        refusal=spot.refusals[0] if spot.refusals else None,
    )


def _refuse_shell(shell: Template | None, spot: Spot) -> None:
    if shell is not None and shell.is_plain and shell_verdict(shell.text) == "refused":
        spot.at("shell").note("refused", f"the shell {cut(repr(shell.text))} is not used here: bash, sh or python is")


def _action(uses: str, inputs: Mapping[str, Template], spot: Spot) -> tuple[Note | None, Note | None]:
    """Return the note of an action that is skipped, or of one that is a no-op."""
    if not _ACTION.fullmatch(uses):
        forms = "owner/name@version, ./folder or docker://image"
        raise spot.mistake(f"{found(uses)} is no action: write {forms}")
    if uses.partition("@")[0].lower() != "actions/checkout":
        what = f"{cut(uses)} is not run here: what it does has to be done already"
        return spot.note("skipped", what), None
    asked = [name for name in inputs if name.lower() in _ANOTHER_TREE and inputs[name].text not in ("", "false")]
    if asked:
        those = ", ".join(f"`{name}`" for name in asked)
        return spot.note("skipped", f"{cut(uses)} with {those} asks for another tree than the present one"), None
    return None, spot.note("no-op", f"{cut(uses)} does nothing here: the steps run in the present tree")
