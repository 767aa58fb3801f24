"""Workflow files of GitHub Actions: what is read of them, and what is noted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.yaml_syntax import read_document
from orchestrator.pipelines.actions.expressions import Scope, Template
from orchestrator.pipelines.actions.keys import KEYS
from orchestrator.pipelines.actions.matrix import combinations, label
from orchestrator.pipelines.actions.model import Matrix, Note, StepDefinition, WorkflowFile
from orchestrator.pipelines.actions.reading import is_workflow, read_workflow
from tests.pipelines.workflow_texts import job_line, read, with_job, with_step

_WORKFLOWS = sorted((Path(__file__).parent / "workflows").glob("*.yml"))


def _step(workflow: WorkflowFile) -> StepDefinition:
    return workflow.jobs["build"].steps[0]


def _kinds(workflow: WorkflowFile) -> list[str]:
    return [note.kind for note in workflow.notes]


def _text(template: Template | bool | None) -> str:
    assert isinstance(template, Template)
    return template.text


# Whole files


@pytest.mark.parametrize("path", _WORKFLOWS, ids=lambda path: path.name)
def test_the_files_of_the_tests_are_read(path: Path) -> None:
    workflow = read_workflow(path)
    assert workflow.path == str(path)
    assert workflow.jobs
    assert all(job.steps or job.refusal for job in workflow.jobs.values())


def _used_keys(value: Any, table: str = "") -> Iterator[str]:
    """Yield the keys of a workflow by the names that the table of keys gives them."""
    named = {"jobs": "<id>", "jobs.<id>.strategy.matrix": "<axis>"}
    for name, inner in value.items() if isinstance(value, dict) else ():
        key = f"{table}.{name}" if table else str(name)
        if table in named and key not in KEYS:
            key = f"{table}.{named[table]}"
        yield key
        if isinstance(inner, list) and key == "jobs.<id>.steps":
            for step in inner:
                yield from _used_keys(step, f"{key}[*]")
        else:
            yield from _used_keys(inner, key)


def test_together_the_files_of_the_tests_use_every_key_of_the_table() -> None:
    used: set[str] = set()
    for path in _WORKFLOWS:
        used |= set(_used_keys(read_document(path.read_text(encoding="utf-8"), path.name).value))
    assert sorted(KEYS.keys() - used) == []


def test_a_workflow_is_known_by_its_jobs() -> None:
    assert is_workflow({"jobs": None})
    assert not is_workflow({"stages": []})
    assert not is_workflow(["jobs"])
    assert not is_workflow(None)


def test_everything_that_is_said_of_a_job_is_kept() -> None:
    workflow = read(
        """
name: All
on: {push: {branches: [main]}}
env: {A: 1, B: "${{ github.sha }}"}
defaults: {run: {shell: sh, working-directory: top}}
concurrency: {group: g, cancel-in-progress: true}
jobs:
  first: {runs-on: x, steps: [{run: a}]}
  second:
    name: Second ${{ matrix.n }}
    needs: [first]
    if: needs.first.result == 'success'
    runs-on: [self-hosted, "${{ matrix.n }}"]
    env: {A: true}
    defaults: {run: {shell: bash}}
    strategy: {matrix: {n: [1, 2], include: [{n: 3}], exclude: [{n: 1}]}, fail-fast: false, max-parallel: 3}
    timeout-minutes: 1.5
    continue-on-error: ${{ matrix.n == 3 }}
    outputs: {o: "${{ steps.s.outputs.o }}"}
    concurrency: only
    steps:
      - {id: s, name: N, run: r, shell: python, working-directory: d, env: {E: ~}, continue-on-error: true}
      - {run: r, timeout-minutes: 2, if: false}
"""
    )
    assert (workflow.path, workflow.name) == ("ci.yml", "All")
    assert {name: template.text for name, template in workflow.env.items()} == {"A": "1", "B": "${{ github.sha }}"}
    assert workflow.concurrency is not None and _text(workflow.concurrency.group) == "g"
    assert workflow.concurrency.cancel_in_progress is True
    assert list(workflow.jobs) == ["first", "second"]
    first, job = workflow.jobs["first"], workflow.jobs["second"]
    assert (first.name, first.needs, first.condition.evaluate(Scope({}, {"success": lambda _: True}))) == (
        None,
        (),
        True,
    )
    assert (_text(first.defaults.shell), _text(first.defaults.working_directory)) == ("sh", "top")
    assert (first.strategy.matrix, first.strategy.fail_fast, first.strategy.max_parallel) == (None, True, None)
    assert (first.timeout_minutes, first.continue_on_error, first.outputs, first.concurrency) == (None, None, {}, None)
    assert _text(job.name) == "Second ${{ matrix.n }}"
    assert (job.id, job.needs, job.refusal) == ("second", ("first",), None)
    assert job.condition.contexts == {"needs"} and job.condition.functions == {"success"}
    assert [label.text for label in job.runs_on] == ["self-hosted", "${{ matrix.n }}"]
    assert _text(job.env["A"]) == "true"
    assert (_text(job.defaults.shell), _text(job.defaults.working_directory)) == ("bash", "top")
    assert job.strategy.matrix == Matrix({"n": [1, 2]}, ({"n": 3},), ({"n": 1},))
    assert (job.strategy.fail_fast, job.strategy.max_parallel) == (False, 3)
    assert _text(job.timeout_minutes) == "1.5"
    assert _text(job.continue_on_error) == "${{ matrix.n == 3 }}"
    assert _text(job.outputs["o"]) == "${{ steps.s.outputs.o }}"
    assert job.concurrency is not None and _text(job.concurrency.group) == "only"
    assert job.concurrency.cancel_in_progress is False
    assert job.place == "ci.yml, line 9: jobs.second"
    one, two = job.steps
    assert (one.number, one.id, one.place) == (1, "s", "ci.yml, line 22: jobs.second.steps[0]")
    assert [_text(t) for t in (one.name, one.run, one.shell, one.working_directory)] == ["N", "r", "python", "d"]
    assert _text(one.env["E"]) == "" and _text(one.continue_on_error) == "true"
    assert (one.uses, one.skip, one.no_op, one.refusal, one.timeout_minutes) == (None, None, None, None, None)
    assert (two.number, two.id, two.name, two.shell) == (2, None, None, None)
    assert _text(two.timeout_minutes) == "2" and two.condition.text == "false"


def test_without_a_name_a_workflow_is_called_by_its_path() -> None:
    assert read(with_step("run: x")).name == "ci.yml"


def test_needs_name_jobs_whatever_their_case_and_each_once() -> None:
    workflow = read(
        "on: push\njobs:\n  Build: {runs-on: x, steps: [run: x]}\n" + job_line("t", "needs: [build, BUILD]")
    )
    assert workflow.jobs["t"].needs == ("Build",)
    assert read(with_job("needs: []\nruns-on: x\nsteps: [run: x]")).jobs["build"].needs == ()


def test_a_group_of_runners_needs_no_labels() -> None:
    assert read(with_job("runs-on: {group: big}\nsteps: [run: x]")).jobs["build"].runs_on == ()
    labels = read(with_job("runs-on: {labels: [a, b]}\nsteps: [run: x]")).jobs["build"].runs_on
    assert [label.text for label in labels] == ["a", "b"]


def test_a_matrix_may_come_from_an_expression_as_a_whole_or_in_part() -> None:
    whole = read(with_job("runs-on: x\nstrategy: {matrix: '${{ fromJSON(needs.a.outputs.m) }}'}\nsteps: [run: x]"))
    assert _text(whole.jobs["build"].strategy.matrix) == "${{ fromJSON(needs.a.outputs.m) }}"  # type: ignore[arg-type]
    parts = "{a: '${{ fromJSON(vars.A) }}', b: ['${{ github.sha }}'], include: '${{ fromJSON(vars.I) }}'}"
    matrix = read(with_job(f"runs-on: x\nstrategy: {{matrix: {parts}}}\nsteps: [run: x]")).jobs["build"].strategy.matrix
    assert isinstance(matrix, Matrix)
    assert isinstance(matrix.axes["a"], Template) and matrix.axes["b"] == ["${{ github.sha }}"]
    assert isinstance(matrix.include, Template) and matrix.exclude == ()


def test_anchors_are_read_as_copies() -> None:
    jobs = read_workflow(_WORKFLOWS[0].with_name("anchors.yml")).jobs
    assert [_text(step.run) for step in jobs["second"].steps[1:]] == [
        _text(step.run) for step in jobs["first"].steps[1:]
    ]
    assert jobs["second"].strategy.matrix == jobs["first"].strategy.matrix
    assert jobs["second"].steps[1].place.endswith("jobs.second.steps[1]")


def test_a_matrix_that_is_written_out_makes_the_combinations_of_github() -> None:
    matrix = read_workflow(_WORKFLOWS[0].with_name("monorepo.yml")).jobs["fixed"].strategy.matrix
    assert isinstance(matrix, Matrix)
    assert isinstance(matrix.include, tuple) and isinstance(matrix.exclude, tuple)
    axes: dict[str, Any] = {**matrix.axes}
    made = combinations({**axes, "include": [*map(dict, matrix.include)], "exclude": [*map(dict, matrix.exclude)]})
    assert [label(combination) for combination in made] == [
        "ubuntu-22.04, gcc, true",
        "ubuntu-22.04, gcc, false",
        "ubuntu-24.04, gcc, true",
        "ubuntu-24.04, gcc, false",
        "ubuntu-24.04, clang, false",
        "ubuntu-24.04, tcc",
    ]


# Notes


def test_a_checkout_of_the_present_tree_is_a_no_op() -> None:
    step = _step(read(with_step("uses: actions/checkout@v4\nwith: {fetch-depth: 0, clean: true, submodules: false}")))
    assert step.no_op is not None and step.no_op.kind == "no-op"
    assert step.no_op.place == "ci.yml, line 6: jobs.build.steps[0].uses"
    assert (step.skip, step.refusal, step.uses) == (None, None, "actions/checkout@v4")


@pytest.mark.parametrize(
    "asked",
    ["repository: a/b", "ref: main", "path: sub", "submodules: recursive", "sparse-checkout: docs", "lfs: true"],
)
def test_a_checkout_of_another_tree_is_skipped(asked: str) -> None:
    step = _step(read(with_step(f"uses: Actions/Checkout@v4\nwith: {{{asked}}}")))
    assert step.no_op is None and step.skip is not None
    assert step.skip.what == (
        f"Actions/Checkout@v4 with `{asked.partition(':')[0]}` asks for another tree than the present one"
    )


@pytest.mark.parametrize(
    "uses", ["actions/setup-python@v5", "a/b/c/d@main", "./.github/actions/x", "docker://alpine:3"]
)
def test_every_other_action_is_skipped_with_a_note(uses: str) -> None:
    workflow = read(
        with_step(f"uses: {uses}\nwith: {{token: '${{{{ secrets.T }}}}'}}\nenv: {{A: '${{{{ secrets.T }}}}'}}")
    )
    step = _step(workflow)
    assert step.skip in workflow.notes and step.skip is not None
    assert step.skip.what.startswith(f"{uses} is not run here")
    assert (step.no_op, step.refusal, workflow.jobs["build"].refusal) == (None, None, None)
    assert "refused" not in _kinds(workflow)


@pytest.mark.parametrize("place", ["run: echo ${{ secrets.A }}", "run: x\nenv: {A: '${{ secrets.A }}'}"])
def test_a_step_that_uses_secrets_is_refused_and_no_other(place: str) -> None:
    workflow = read(with_job("runs-on: x\nsteps:\n  - " + place.replace("\n", "\n    ") + "\n  - run: y"))
    first, second = workflow.jobs["build"].steps
    assert first.refusal is not None and first.refusal.what.startswith("uses secrets")
    assert second.refusal is None and workflow.jobs["build"].refusal is None
    assert _kinds(workflow) == ["no-op", "refused"]


@pytest.mark.parametrize(
    "job",
    [
        "container: python:3",
        "container: {image: a}",
        "services: {db: {image: b}}",
        "snapshot: image",
        "env: {A: '${{ secrets.A }}'}",
        "outputs: {a: '${{ secrets.A }}'}",
    ],
)
def test_a_job_that_cannot_be_run_here_is_refused_as_a_whole(job: str) -> None:
    workflow = read(with_job(f"runs-on: x\nsteps: [run: x]\n{job}"))
    refusal = workflow.jobs["build"].refusal
    assert refusal is not None and refusal in workflow.notes
    assert refusal.place.startswith(f"ci.yml, line 6: jobs.build.{job.partition(':')[0]}")


def test_secrets_for_all_jobs_refuse_all_jobs() -> None:
    workflow = read(with_job("runs-on: x\nsteps: [run: x]", "on: push\nenv: {A: '${{ secrets.A }}'}\n"))
    assert workflow.jobs["build"].refusal is workflow.notes[1]


def test_a_reusable_workflow_is_refused() -> None:
    job = read(with_job("uses: ./x.yml\nwith: {a: 1}\nsecrets: inherit\nif: always()")).jobs["build"]
    assert job.refusal is not None and job.refusal.what.startswith("'./x.yml': a reusable workflow is not called here")
    assert (job.steps, job.runs_on) == ((), ())


@pytest.mark.parametrize("shell", ["pwsh", "powershell", "cmd", "pwsh -NoLogo {0}"])
def test_a_step_in_a_shell_of_windows_is_refused(shell: str) -> None:
    refusal = _step(read(with_step(f"run: x\nshell: {shell}"))).refusal
    assert refusal is not None and refusal.what.startswith(f"the shell {shell!r} is not used here")


def test_a_shell_of_windows_by_default_refuses_the_steps_that_say_none() -> None:
    job = "runs-on: x\ndefaults: {run: {shell: pwsh}}\nsteps: [run: x, {run: y, shell: bash}, {uses: a/b@c}]"
    steps = read(with_job(job)).jobs["build"].steps
    assert [step.refusal is not None for step in steps] == [True, False, False]


@pytest.mark.parametrize("step", ["run: x\nbackground: true", "wait: a", "wait: [a, b]", "wait-all:", "cancel: a"])
def test_steps_in_the_background_are_refused(step: str) -> None:
    refusal = _step(read(with_step(step))).refusal
    assert refusal is not None and refusal.kind == "refused"


def test_what_has_no_effect_is_noted_once_with_its_name() -> None:
    workflow = read(
        with_job("runs-on: x\nenvironment: {name: prod, url: 'https://x'}\npermissions: {}\nsteps: [run: x]")
    )
    assert [(note.kind, note.place) for note in workflow.notes] == [
        ("no-op", "ci.yml, line 1: on"),
        ("no-op", "ci.yml, line 6: jobs.build.permissions"),
        ("no-op", "ci.yml, line 5: jobs.build.environment"),
    ]
    assert workflow.notes[2].what.startswith("'prod': an environment's rules")


@pytest.mark.parametrize(
    ("written", "value"), [("3.10", "3.1"), ("1.0", "1"), ("010", "10"), ("1e3", "1000"), ("0x10", "16")]
)
def test_a_number_that_loses_its_spelling_is_warned_of(written: str, value: str) -> None:
    job = f"runs-on: x\nstrategy:\n  matrix:\n    python: [3.9, {written}]\nsteps: [run: x]"
    assert read(with_job(job)).notes[1:] == (
        Note(
            "warning",
            "ci.yml, line 7: jobs.build.strategy.matrix.python[1]",
            f"{written} is the number {value}: quote it to keep it as it is written",
        ),
    )
    assert _kinds(read(with_job(job.replace(written, f'"{written}"')))) == ["no-op"]
    assert _kinds(read(with_step(f"uses: a/b@c\nwith: {{python-version: {written}}}"))) == ["no-op", "skipped"]
    assert _kinds(read(with_step(f"run: x\ntimeout-minutes: {written}"))) == ["no-op"]


def test_contexts_that_are_empty_here_are_warned_of() -> None:
    workflow = read(with_step("run: echo ${{ vars.A }} ${{ inputs.b }}"))
    assert [note.what[:8] for note in workflow.notes if note.kind == "warning"] == ["`inputs`", "`vars` i"]


def test_a_workflow_without_events_is_warned_of() -> None:
    assert _kinds(read(with_job("runs-on: x\nsteps: [run: x]", ""))) == ["warning"]
