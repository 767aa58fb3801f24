"""Each mistake in a workflow file is told with its place before anything runs, and nothing else is ever raised."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.exceptions import ConfigError, CycleError
from orchestrator.pipelines.actions.keys import KEYS
from orchestrator.pipelines.actions.reading import read_workflow
from tests.pipelines.workflow_texts import job_line, read, with_job, with_step


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "ci.yml: is empty: a workflow has `on` and `jobs`"),
        ("- a", "ci.yml: must be a table of keys and values, not ['a'] (list)"),
        ("on: push", "ci.yml: there are no jobs: a workflow needs one at least in `jobs`"),
        ("on: push\njobs:", "ci.yml, line 2: jobs: there are no jobs"),
        ("on: push\njobs: []", "ci.yml, line 2: jobs: there are no jobs"),
        ("on: push\njobs: [a]", "ci.yml, line 2: jobs: must be a table of keys and values, not ['a'] (list)"),
        ("on: 5\njobs: {a: {}}", "ci.yml, line 1: on: must be an event, a list of events or a table of them, not 5"),
        ("on: push\njob: {}", "ci.yml, line 2: job: unknown key; did you mean 'jobs'? Known here: concurrency, "),
        ("on: push\nname: ${{ github.ref }}\njobs: {a: {}}", "line 2: name: must be known when the file is read"),
        ("on: push\nenv: [A]\njobs: {a: {}}", "line 2: env: must be a table of keys and values, not ['A'] (list)"),
        ("on: push\nenv: {'': a}\njobs: {a: {}}", "line 2: env.\"\": '' (text) can name no variable"),
        ("on: push\nenv: {A=B: a}\njobs: {a: {}}", "'A=B' (text) can name no variable: it must not be empty or hold"),
        ("on: push\nenv: {A: [1]}\njobs: {a: {}}", "line 2: env.A: must be text, not [1] (list)"),
        ("on: push\nenv: {A: '${{ matrix.a }}'}\njobs: {a: {}}", "line 2: env.A: `matrix` is not available here"),
        ("on: push\ndefaults: {shell: sh}\njobs: {a: {}}", "line 2: defaults.shell: unknown key. Known here: run"),
        ("on: push\nconcurrency: {}\njobs: {a: {}}", "line 2: concurrency: needs `group`"),
        ("on: push\nconcurrency: {group: a, cancel-in-progress: maybe}", "must be true or false, or one expression"),
        ("on: push\njobs: {1a: {}}", "line 2: jobs.1a: '1a' (text) is no id: letters, digits, '_' and '-'"),
        ("on: push\njobs: {__a: {}}", "line 2: jobs.__a: '__a' (text) is no id: GitHub keeps those"),
        ("on: push\njobs:\n  a: {}\n  A: {}", "line 4: jobs.A: the job 'a' has the same id"),
        ("on: push\njobs:\n  a: 5", "line 3: jobs.a: must be a table of keys and values, not 5 (whole number)"),
        ("on: push\njobs:\n  a: {}", "line 3: jobs.a: a job has either `steps` or `uses`"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_whole_file_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert told in str(caught.value)
    assert str(caught.value).startswith("ci.yml")


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("step: [run: x]", "ci.yml, line 4: jobs.build.step: unknown key; did you mean 'steps'? Known here: "),
        ("runs-on: x\nsteps: [run: x]\nuses: a", "jobs.build: a job has either `steps` or `uses`, a workflow that it "),
        ("uses: a/b@c\nruns-on: x", "line 5: jobs.build.runs-on: belongs to a job with `steps`; this one has none"),
        ("runs-on: x\nsteps: [run: x]\nsecrets: inherit", "jobs.build.secrets: belongs to a job with `uses`"),
        ("steps: [run: x]", "line 3: jobs.build: needs `runs-on`, the labels of the machine"),
        ("runs-on: []\nsteps: [run: x]", "line 4: jobs.build.runs-on: must name one label at least"),
        ("runs-on: {label: a}\nsteps: [run: x]", "jobs.build.runs-on.label: unknown key; did you mean 'labels'?"),
        ("runs-on: x\nsteps: []", "line 5: jobs.build.steps: must be a list of one step at least, not [] (list)"),
        ("runs-on: x\nsteps: [5]", "line 5: jobs.build.steps[0]: must be a table of keys and values, not 5"),
        ("runs-on: x\nneeds: biuld\nsteps: [run: x]", "line 5: jobs.build.needs: there is no job 'biuld'; did you"),
        ("runs-on: x\nneeds: [build, 5]\nsteps: [run: x]", "line 5: jobs.build.needs[1]: there is no job '5'. Known"),
        ("runs-on: x\nif: matrix.a\nsteps: [run: x]", "line 5: jobs.build.if: `matrix` is not available here. Known h"),
        ("runs-on: x\nif: steps.a\nsteps: [run: x]", "line 5: jobs.build.if: `steps` is not available here. Known "),
        ("runs-on: x\nif: gihtub.ref\nsteps: [run: x]", "`gihtub` is no context; did you mean 'github'?"),
        ("runs-on: x\nif: secrets.A\nsteps: [run: x]", "line 5: jobs.build.if: `secrets` is not available here"),
        ("runs-on: x\nif: hashFiles('a')\nsteps: [run: x]", "jobs.build.if: hashfiles() may not be called here, only"),
        ("runs-on: x\nif: github.ref == \nsteps: [run: x]", "line 5: jobs.build.if: "),
        ("runs-on: x\nname: ${{ success() }}\nsteps: [run: x]", "line 5: jobs.build.name: success() may not be called"),
        ("runs-on: x\nname: ${{ env.A }}\nsteps: [run: x]", "line 5: jobs.build.name: `env` is not available here"),
        ("runs-on: x\nenv: {A: '${{ env.A }}'}\nsteps: [run: x]", "line 5: jobs.build.env.A: `env` is not available"),
        ("runs-on: x\nenv: '${{ fromJSON(vars.A) }}'\nsteps: [run: x]", "may stand for its values, not for the table"),
        ("runs-on: x\ntimeout-minutes: 0\nsteps: [run: x]", "must be a number of minutes above zero, or one"),
        ("runs-on: x\ntimeout-minutes: -1\nsteps: [run: x]", "jobs.build.timeout-minutes: must be a number of minutes"),
        ("runs-on: x\ntimeout-minutes: true\nsteps: [run: x]", "must be a number of minutes above zero"),
        ("runs-on: x\ntimeout-minutes: .inf\nsteps: [run: x]", "must be a number of minutes above zero"),
        ("runs-on: x\ntimeout-minutes: '5'\nsteps: [run: x]", "not '5' (text)"),
        ("runs-on: x\ntimeout-minutes: 5${{ vars.A }}\nsteps: [run: x]", "must be a number of minutes above zero"),
        ("runs-on: x\ncontinue-on-error: yes\nsteps: [run: x]", "must be true or false, or one expression in ${{ }}"),
        ("runs-on: x\ncontinue-on-error: 'true'\nsteps: [run: x]", "not 'true' (text): leave the quotes off"),
        ("runs-on: x\nstrategy: {fail-fast: 1}\nsteps: [run: x]", "jobs.build.strategy.fail-fast: must be true or"),
        ("runs-on: x\nstrategy: {max-parallel: 0}\nsteps: [run: x]", "must be a whole number, 1 or more"),
        ("runs-on: x\nstrategy: {matrix: a}\nsteps: [run: x]", "must be a table of axes, or one expression that gives"),
        ("runs-on: x\nstrategy: {matrix: {}}\nsteps: [run: x]", "jobs.build.strategy.matrix: a matrix needs at least"),
        ("runs-on: x\nstrategy: {matrix: {a: b}}\nsteps: [run: x]", "jobs.build.strategy.matrix.a: must be a list of"),
        ("runs-on: x\nstrategy: {matrix: {a: ~}}\nsteps: [run: x]", "matrix.a: must be a list of values, or one expr"),
        ("runs-on: x\nstrategy: {matrix: {a: []}}\nsteps: [run: x]", "matrix: the axis 'a' is empty"),
        ("runs-on: x\nstrategy: {matrix: {a: [1], include: [2]}}\nsteps: [run: x]", "matrix.include[0]: must be a"),
        ("runs-on: x\nstrategy: {matrix: {a: [1], exclude: [{b: 1}]}}\nsteps: [run: x]", "`exclude` names 'b', which"),
        ("runs-on: x\nstrategy: {matrix: {a: ['${{ matrix.b }}']}}\nsteps: [run: x]", "matrix.a[0]: `matrix` is not"),
        ("runs-on: x\nstrategy: {matrix: {a: [[{k: '${{ x('}]]}}\nsteps: [run: x]", "strategy.matrix.a[0][0].k: "),
        ("runs-on: x\noutputs: {a b: c}\nsteps: [run: x]", "jobs.build.outputs.\"a b\": 'a b' (text) is no id"),
        ("runs-on: x\nenvironment: {url: a}\nsteps: [run: x]", "line 5: jobs.build.environment: needs `name`"),
        ("runs-on: x\nenvironment: {nmae: a}\nsteps: [run: x]", "environment.nmae: unknown key; did you mean 'name'?"),
        ("runs-on: x\ndefaults: {run: {shell: fish}}\nsteps: [run: x]", "run.shell: 'fish' (text) is no shell"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_job_is_told_with_its_place(job: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(with_job(job))
    assert told in str(caught.value)
    assert str(caught.value).startswith("ci.yml, line ")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("rnu: x", "ci.yml, line 6: jobs.build.steps[0].rnu: unknown key; did you mean 'run'? Known here: "),
        ("name: x", "jobs.build.steps[0]: a step has either `run`, a script, or `uses`, an action; this one has"),
        ("run: x\nuses: a/b@c", "this one has both `run` and `uses`"),
        ("run: x\nwith: {a: b}", "line 7: jobs.build.steps[0].with: belongs to a step with `uses`; this one has `run`"),
        ("uses: a/b@c\nshell: sh", "steps[0].shell: belongs to a step with `run`; this one has `uses`"),
        ("uses: a/b@c\nworking-directory: d", "steps[0].working-directory: belongs to a step with `run`"),
        ("run:", "line 6: jobs.build.steps[0].run: is empty: write a script"),
        ("run: [x]", "line 6: jobs.build.steps[0].run: must be text, not ['x'] (list)"),
        ("uses: setup-python", "steps[0].uses: 'setup-python' (text) is no action: write owner/name@version"),
        ("uses: actions/setup-python", "is no action: write owner/name@version, ./folder or docker://image"),
        ("uses: a/b@${{ vars.A }}", "steps[0].uses: must be known when the file is read: no ${{ }} may stand here"),
        ("run: x\nid: 1a", "line 7: jobs.build.steps[0].id: '1a' (text) is no id"),
        ("run: x\nid: a.b", "'a.b' (text) is no id"),
        ("run: x\nid:", "steps[0].id: must not be empty"),
        ("run: x\nshell: fihs", "steps[0].shell: 'fihs' (text) is no shell, and no command with {0} for the script's"),
        ("run: x\nshell: pyhton", "did you mean 'python'?"),
        ("run: x\nshell: ${{ matrix.s }}", "no expression may stand here, not '${{ matrix.s }}' (text): `jobs.<id>"),
        ("run: x\nif: secrets.A != ''", "steps[0].if: `secrets` is not available here"),
        ("run: x\nif: jobs.A", "steps[0].if: `jobs` is not available here"),
        ("run: x\nif: ${{ github.ref }} == 'a'", "steps[0].if: "),
        ("run: x\nif: !cancelled()", "line 7: the tag !cancelled(): tags are not read; quote what is text"),
        ("run: echo ${{ success() }}", "steps[0].run: success() may not be called here, only under `jobs.<id>.if`"),
        ("run: echo ${{ github.ref", "line 6: jobs.build.steps[0].run: "),
        ("run: echo ${{ nothing() }}", "line 6: jobs.build.steps[0].run: "),
        ("run: x\nenv: {A: '${{ foo.bar }}'}", "steps[0].env.A: `foo` is no context"),
        ("run: x\ntimeout-minutes: soon", "steps[0].timeout-minutes: must be a number of minutes above zero"),
        ("run: x\ncontinue-on-error: 1", "steps[0].continue-on-error: must be true or false"),
        ("run: x\nworking-directory: ''", "steps[0].working-directory: must not be empty"),
        ("uses: a/b@c\nwith: {a: '${{ matrix. }}'}", "steps[0].with.a: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_told_with_its_place(step: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(with_step(step))
    assert told in str(caught.value)
    assert str(caught.value).startswith("ci.yml, line ")


def test_an_expression_that_does_not_parse_is_told_with_its_column() -> None:
    with pytest.raises(ConfigError, match=r"line 7: jobs\.build\.steps\[0\]\.if: .*column 14\)"):
        read(with_step("run: x\nif: github.ref == "))
    with pytest.raises(ConfigError, match=r"line 6: jobs\.build\.steps\[0\]\.run: .*column 15\)"):
        read(with_step('run: echo ${{ ref == "main" }}'.replace("ref", "a")))


def test_steps_of_one_id_are_told_whatever_its_case() -> None:
    text = with_job("runs-on: x\nsteps:\n  - run: x\n    id: one\n  - run: y\n    id: ONE")
    with pytest.raises(ConfigError, match=r"line 9: jobs\.build\.steps\[1\]\.id: step 1 has the id 'ONE' too"):
        read(text)


def test_jobs_that_need_each_other_are_told_with_their_path() -> None:
    jobs = job_line("a", "needs: c") + job_line("b", "needs: a") + job_line("c", "needs: [b]")
    with pytest.raises(CycleError, match=r"ci\.yml: .*a -> c -> b -> a"):
        read(f"on: push\njobs:\n{jobs}")
    with pytest.raises(CycleError, match="a -> a"):
        read("on: push\njobs:\n" + job_line("a", "needs: a"))


def test_a_matrix_of_10_000_jobs_is_told_when_the_file_is_read() -> None:
    axis = f"[{', '.join(map(str, range(10)))}]"
    text = with_job(f"runs-on: x\nstrategy:\n  matrix: {{a: {axis}, b: {axis}, c: {axis}, d: {axis}}}\nsteps: [run: x]")
    with pytest.raises(
        ConfigError, match=r"line 6: jobs\.build\.strategy\.matrix: this matrix makes 10000 jobs; 256 is"
    ):
        read(text)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_workflow(tmp_path / "nothing.yml")
    (tmp_path / "bytes.yml").write_bytes(b"on: push\n# \xff\n")
    with pytest.raises(ConfigError, match="line 2: the byte 0xff is no UTF-8"):
        read_workflow(tmp_path / "bytes.yml")
    (tmp_path / "large.yml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read_workflow(tmp_path / "large.yml")


# Any file

_NAMES = sorted({part.removesuffix("[*]") for key in KEYS for part in key.split(".")} | {"a", "<<"})
_LEAVES = [
    "x",
    "1",
    "3.10",
    "true",
    "",
    "[]",
    "{}",
    "[a]",
    "{a: b}",
    "bash",
    "${{ a }}",
    "${{ matrix.a }}",
    "'${{ '",
    "*a",
]
_LINES = st.builds(
    lambda depth, dash, name, leaf: f"{'  ' * depth}{dash}{name}: {leaf}",
    st.integers(0, 4),
    st.sampled_from(["", "", "- "]),
    st.sampled_from(_NAMES),
    st.sampled_from(["", "", *_LEAVES]),
)


def _read_any(text: str) -> None:
    with contextlib.suppress(ConfigError, CycleError):
        read(text)


@given(lines=st.lists(_LINES, max_size=12))
def test_any_lines_are_read_or_told_to_be_wrong(lines: list[str]) -> None:
    _read_any("\n".join(lines))


_WILD = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 3.1, "", "x", "${{ a }}", "${{ matrix.a }}", "${{", "always()", "pwsh", "a/b@c"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=8,
)


@given(where=st.sampled_from(sorted(KEYS)), value=_WILD)
def test_any_value_under_any_key_is_read_or_told_to_be_wrong(where: str, value: Any) -> None:
    step = {"run": "x"}
    job = {"runs-on": "x", "steps": [step]}
    workflow: dict[str, Any] = {"on": "push", "jobs": {"a": job}}
    at: Any = workflow
    *way, last = where.replace("[*]", ".0").replace("<id>", "a").replace("<axis>", "b").split(".")
    for name in way:
        if isinstance(at, dict) and not isinstance(at.get(name), (dict, list)):
            at[name] = {}
        at = at[0] if isinstance(at, list) else at[name]
    at[last] = value
    _read_any(yaml.safe_dump(workflow, sort_keys=False))
