"""Jobs of workflow files, the finer points: limits, matrices, groups of jobs, names, what is handed on, the host."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from orchestrator import ConfigError, Ending, Event, ExecutionResult, Finished, Limits, Printed
from orchestrator.pipelines.loading import load_pipeline
from tests.pipelines.acts import endings, ran, results_of, steps_of, write
from tests.waiting import eventually, lines_of, wait_gone

# Limits


def test_steps_share_the_time_of_their_job_and_of_whoever_runs_it(tmp_path: Path) -> None:
    steps = "steps: [{run: sleep 0.8}, {run: sleep 0.8; touch never}]"
    own = ran(tmp_path, f"a: {{runs-on: x, timeout-minutes: 0.02, {steps}}}")["a"]
    outer = ran(tmp_path, f"a: {{runs-on: x, {steps}}}", limits=Limits(1.2))["a"]
    for result in (own, outer):
        assert (result.ending, result.return_code) == (Ending.TIMED_OUT, 124)
        assert "the time limit passed (1.2 s for all together)" in result.error
    assert not (tmp_path / "never").exists()


def test_a_step_that_takes_too_long_for_itself_is_told_its_own_limit(tmp_path: Path) -> None:
    result = ran(tmp_path, "a: {runs-on: x, steps: [{run: sleep 60, timeout-minutes: 0.005}]}")["a"]
    assert result.ending is Ending.TIMED_OUT
    assert "for all together" not in result.error


def test_when_a_jobs_time_has_passed_nothing_starts_but_what_cleans_up(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        a:
          runs-on: x
          timeout-minutes: 0.008
          steps:
            - {name: slow, run: sleep 60, continue-on-error: true}
            - {name: plain, run: touch never}
            - {name: clean, if: always(), run: echo cleaning}
        """,
    )["a"]
    steps = steps_of(result)
    assert (steps["slow"], steps["clean"]) == ("timed out", "ok")
    assert steps["plain"] in ("skipped", "timed out")
    assert result.output.endswith("cleaning\n")
    assert not (tmp_path / "never").exists()


# Matrices


def test_after_a_failure_nothing_of_a_matrix_that_runs_one_by_one_is_started(tmp_path: Path) -> None:
    job = """
    {0}:
      runs-on: x
      strategy: {{max-parallel: 1, fail-fast: {1}, matrix: {{n: [1, 2, 3, 4]}}}}
      steps: [{{run: "echo begun >> {0}; exit 1"}}, {{if: always(), run: "echo ended >> {0}"}}]
    """
    results = ran(tmp_path, job.format("fast", "true") + job.format("slow", "false"))
    assert sorted(result.ending.value for name, result in results.items() if name.startswith("fast")) == [
        "cancelled", "cancelled", "cancelled", "raised",
    ]  # fmt: skip
    assert lines_of(tmp_path / "fast") == ["begun", "ended"]
    assert lines_of(tmp_path / "slow") == ["begun", "ended"] * 4


def test_failures_that_may_be_cost_the_others_of_a_matrix_nothing(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        a:
          runs-on: x
          continue-on-error: true
          strategy: {max-parallel: 1, matrix: {n: [1, 2, 3]}}
          steps: [{run: exit 1}]
        """,
    )
    assert [(result.ending, result.tolerated) for result in results.values()] == [(Ending.RAISED, True)] * 3


def test_jobs_that_wait_for_their_turn_end_with_a_cancelled_run_but_those_that_run_always(tmp_path: Path) -> None:
    text = """
    on: push
    jobs:
      plain:
        runs-on: x
        strategy: {max-parallel: 1, fail-fast: false, matrix: {n: [1, 2]}}
        steps:
          - run: echo $$ > pid; sleep 60
          - if: always()
            run: until [ -e go ]; do sleep 0.02; done; echo plain >> ended
            timeout-minutes: 0.3
      always:
        runs-on: x
        if: always()
        strategy: {max-parallel: 1, fail-fast: false, matrix: {n: [1, 2]}}
        steps: [{run: "echo > up; until [ -e go ]; do sleep 0.02; done; sleep 0.3; echo always >> ended"}]
    """
    pipeline = load_pipeline(write(tmp_path, text))
    found: dict[str, ExecutionResult] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Finished):
            found[event.name] = event.result
            (tmp_path / "go").touch()  # one that has waited is over: those under way may end

    thread = threading.Thread(target=pipeline.workflow(on_event=hear).run)
    thread.start()
    eventually((tmp_path / "up").exists)
    (pid,) = eventually(lambda: lines_of(tmp_path / "pid"))
    pipeline.cancellation.request()
    thread.join(30)
    assert sorted((name.split()[0], result.ending.value) for name, result in found.items()) == [
        ("always", "ok"), ("always", "ok"), ("plain", "cancelled"), ("plain", "cancelled"),
    ]  # fmt: skip
    assert sorted(lines_of(tmp_path / "ended")) == ["always", "always", "plain"]
    assert sorted(len(result.stages) for name, result in found.items() if name.startswith("plain")) == [0, 2]
    wait_gone(int(pid))


def test_what_was_cancelled_is_told_so_to_the_steps_and_jobs_that_come_after(tmp_path: Path) -> None:
    pipeline = load_pipeline(
        write(
            tmp_path,
            """
            on: push
            jobs:
              a:
                runs-on: x
                steps:
                  - {id: hang, run: "echo $$ > pid; sleep 60"}
                  - {if: always(), run: "echo ${{ steps.hang.outcome }} ${{ steps.hang.conclusion }}"}
              b: {needs: a, if: always(), runs-on: x, steps: [{if: always(), run: "echo ${{ needs.a.result }}"}]}
            """,
        )
    )
    found: list[dict[str, ExecutionResult]] = []
    thread = threading.Thread(target=lambda: found.append(results_of(pipeline)))
    thread.start()
    pid = eventually(lambda: lines_of(tmp_path / "pid"))
    pipeline.cancellation.request()
    thread.join(30)
    assert [result.output for result in found[0].values()] == ["cancelled cancelled\n", "cancelled\n"]
    wait_gone(int(pid[0]))


def test_a_job_sees_how_its_matrix_is_run(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        told:
          runs-on: x
          strategy: {fail-fast: false, max-parallel: 2, matrix: {n: [1]}}
          steps: &say [{run: "echo ${{ strategy.fail-fast }} ${{ strategy.max-parallel }}"}]
        plain: {runs-on: x, strategy: {matrix: {n: [1, 2, 3]}}, steps: *say}
        """,
    )
    assert [result.output for result in results.values()] == ["false 2\n"] + ["true 3\n"] * 3


def test_expressions_within_a_matrix_are_worked_out(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        x:
          runs-on: x
          strategy:
            matrix:
              n: [1, "${{ 1 == 2 }}", "${{ github.job }}"]
              include: [{n: 1, extra: "${{ github.job }}!"}]
          steps: [{run: "echo ${{ matrix.n }} ${{ matrix.extra }}"}]
        """,
    )
    assert [result.output for result in results.values()] == ["1 x!\n", "false\n", "x\n"]


def test_outputs_of_a_matrix_are_the_last_that_say_something(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        m:
          runs-on: x
          strategy: {matrix: {n: [one, two, ""]}}
          outputs: {last: "${{ matrix.n }}", none: "${{ matrix.nothing }}"}
          steps: [{run: "true"}]
        after: {needs: m, runs-on: x, steps: [{run: "echo '${{ toJSON(needs.m.outputs) }}' | tr -d ' \\n'"}]}
        """,
    )
    assert json.loads(results["after"].output) == {"last": "two", "none": ""}


def test_a_matrix_of_which_some_failed_and_some_were_cancelled_has_failed(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        m:
          runs-on: x
          strategy: {matrix: {n: [hangs, bad]}}
          steps:
            - run: |
                if [ ${{ matrix.n }} = hangs ]; then touch up; sleep 60; fi
                until [ -e up ]; do sleep 0.02; done; exit 1
        after: {needs: m, if: always(), runs-on: x, steps: [{run: "echo ${{ needs.m.result }}"}]}
        """,
    )
    assert results["after"].output == "failure\n"


LATE = """
on: push
jobs:
  plan: {{runs-on: x, outputs: {{m: '{0}'}}, steps: [{{run: "true"}}]}}
  work:
    needs: plan
    runs-on: ${{{{ matrix.on || 'x' }}}}
    continue-on-error: ${{{{ matrix.n == 'may fail' }}}}
    strategy: {{{1}matrix: "${{{{ fromJSON(needs.plan.outputs.m) }}}}"}}
    outputs: {{o: "${{{{ steps.s.outputs.o }}}}"}}
    steps:
      - id: s
        env: {{N: "${{{{ matrix.n }}}}"}}
        run: |
          echo "$$ $N" >> pids
          echo "did $N"; echo "o=$N" >> $GITHUB_OUTPUT; echo "sum $N" >> $GITHUB_STEP_SUMMARY
          case $N in
            hang*) echo > up; sleep 60;;
            bad) until [ -e up ]; do sleep 0.02; done; exit 1;;
            may*) exit 1;;
          esac
  after:
    needs: work
    if: always()
    runs-on: x
    steps: [{{run: "echo ${{{{ needs.work.result }}}} ${{{{ needs.work.outputs.o }}}}"}}]
"""
"""A job whose matrix an earlier one says: it hangs, fails or ends well as the values say."""


def test_a_late_matrix_hands_on_outputs_and_summaries_and_skips_what_is_for_other_systems(tmp_path: Path) -> None:
    matrix = '{"include": [{"n": "one"}, {"n": "two", "on": "windows-2022"}]}'
    results = results_of(load_pipeline(write(tmp_path, LATE.format(matrix, ""))))
    assert endings(results) == {"plan": "ok", "work": "ok", "after": "ok"}
    assert [part.ending.value for part in results["work"].stages] == ["ok", "skipped"]
    assert "it runs on 'windows-2022', and this is Linux" in results["work"].stages[1].reason
    assert results["work"].value.summary == "sum one\n"
    assert results["after"].output == "success one\n"


def test_of_a_late_matrix_the_failure_decides_not_what_it_has_cancelled(tmp_path: Path) -> None:
    results = results_of(load_pipeline(write(tmp_path, LATE.format('{"n": ["hang", "bad"]}', ""))))
    work = results["work"]
    assert [part.ending.value for part in work.stages] == ["cancelled", "raised"]
    assert (work.ending, work.error.splitlines()[-1]) == (
        Ending.RAISED, "'work (bad)' failed: 'Run echo \"$$ $N\" >> pids' failed: exited with code 1",
    )  # fmt: skip
    assert results["after"].output == "failure bad\n"


def test_a_late_matrix_of_which_only_what_may_has_failed_is_a_success_for_others(tmp_path: Path) -> None:
    results = results_of(load_pipeline(write(tmp_path, LATE.format('{"n": ["one", "may fail"]}', ""))))
    assert (results["work"].ending, results["work"].tolerated) == (Ending.RAISED, True)
    assert results["after"].output.startswith("success ")


def test_a_late_matrix_is_heard_and_takes_as_long_as_it_lasts_not_as_its_parts_together(tmp_path: Path) -> None:
    heard: list[Event] = []
    text = LATE.format('{"n": [1, 2, 3, 4]}', "").replace('echo "did $N"', 'sleep 0.5; echo "did $N"')
    pipeline = load_pipeline(write(tmp_path, text))
    flow = pipeline.workflow(on_event=heard.append, live_output=True)
    work = flow.run()["work"].value
    assert isinstance(work, ExecutionResult)
    assert work.execution_time < sum(part.execution_time for part in work.stages)
    printed = b"".join(event.data for event in heard if isinstance(event, Printed) and event.name == "work")
    assert sorted(printed.decode().splitlines()) == [f"did {n}" for n in (1, 2, 3, 4)]


def test_stopping_everything_stops_every_part_of_a_late_matrix(tmp_path: Path) -> None:
    flow = load_pipeline(write(tmp_path, LATE.format('{"n": ["hang 1", "hang 2"]}', ""))).workflow()
    thread = threading.Thread(target=flow.run)
    thread.start()
    eventually(lambda: len(lines_of(tmp_path / "pids")) == 2)
    pids = [int(line.split()[0]) for line in lines_of(tmp_path / "pids")]
    flow.cancel()
    thread.join(30)
    assert not thread.is_alive()
    for pid in pids:
        wait_gone(pid)
    assert flow.results["work"].ending is Ending.CANCELLED


@pytest.mark.parametrize("most", ["0", "-1", "1.5", "[1]", "true", "null"])
def test_a_number_of_jobs_at_a_time_that_is_none_is_refused_with_its_place(tmp_path: Path, most: str) -> None:
    job = """
    a:
      runs-on: x
      strategy: {max-parallel: "${{ fromJSON('MOST') }}", matrix: {n: [1]}}
      steps: [{run: ls}]
    """.replace("MOST", most)
    with pytest.raises(ConfigError, match=r"jobs\.a: max-parallel must be a whole number above zero"):
        ran(tmp_path, job)


# What decides whether jobs run


def test_conditions_of_jobs_see_the_outputs_of_those_before(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        plan: {runs-on: x, outputs: {go: "yes"}, steps: [{run: "true"}]}
        on: {needs: plan, if: needs.plan.outputs.go == 'yes', runs-on: x, steps: [{run: "true"}]}
        off: {needs: plan, if: needs.plan.outputs.go == 'no', runs-on: x, steps: [{run: touch never}]}
        """,
    )
    assert endings(results) == {"plan": "ok", "on": "ok", "off": "skipped"}


def test_after_a_cancellation_what_waits_for_a_failure_does_not_run(tmp_path: Path) -> None:
    pipeline = load_pipeline(
        write(
            tmp_path,
            """
            on: push
            jobs:
              bad: {runs-on: x, steps: [{run: exit 1}]}
              hang: {needs: bad, if: failure(), runs-on: x, steps: [{run: "echo $$ > pid; sleep 60"}]}
              mourn: {needs: hang, if: failure(), runs-on: x, steps: [{run: touch never}]}
            """,
        )
    )
    found: list[dict[str, ExecutionResult]] = []
    thread = threading.Thread(target=lambda: found.append(results_of(pipeline)))
    thread.start()
    wait = eventually(lambda: lines_of(tmp_path / "pid"))
    pipeline.cancellation.request()
    thread.join(30)
    assert endings(found[0]) == {"bad": "raised", "hang": "cancelled", "mourn": "skipped"}
    wait_gone(int(wait[0]))


def test_so_many_jobs_run_at_a_time_as_is_said(tmp_path: Path) -> None:
    jobs = "".join(
        f'{name}: {{runs-on: x, steps: [{{run: "mkdir alone && sleep 0.1 && rmdir alone"}}]}}\n' for name in "abc"
    )
    assert set(endings(ran(tmp_path, jobs, max_concurrency=1)).values()) == {"ok"}


# Names, shells, outputs


def test_jobs_are_called_by_their_names_and_none_twice(tmp_path: Path) -> None:
    strategy = "runs-on: x, strategy: {matrix: {n: [1, 2]}}, steps: [{run: 'true'}]"
    results = ran(
        tmp_path,
        f"""
        a: {{name: Tests, {strategy}}}
        b: {{name: "Number ${{{{ matrix.n }}}}", {strategy}}}
        c: {{name: "Always ${{{{ github.job }}}}", {strategy}}}
        d: {{{strategy}}}
        e: {{name: Tests (1), runs-on: x, steps: [{{run: "true"}}]}}
        """,
    )
    assert list(results) == [
        "Tests (1)", "Tests (2)", "Number 1", "Number 2", "Always c", "Always c (2)", "d (1)", "d (2)", "Tests (1) (2)",
    ]  # fmt: skip


def test_a_step_without_a_name_is_called_by_the_beginning_of_its_script(tmp_path: Path) -> None:
    long = "true " + "x" * 100
    result = ran(
        tmp_path, f'a:\n  runs-on: x\n  steps: [{{run: "{long}"}}, {{run: "true ${{{{ github.job }}}}\\nls"}}]\n'
    )
    assert list(steps_of(result["a"])) == [f"Run {long[:57]}...", "Run true a"]


def test_the_shell_of_a_job_holds_for_steps_that_name_none_and_an_unknown_one_fails_them(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        python:
          runs-on: x
          defaults: {run: {shell: "${{ github.job }}"}}
          steps: [{run: print("python")}, {run: echo shell, shell: sh}]
        pwsh:
          runs-on: x
          defaults: {run: {shell: "${{ github.job }}"}}
          steps: [{run: touch never}, {if: always(), run: echo on, shell: sh}]
        """,
    )
    assert (results["python"].ending, results["python"].output) == (Ending.OK, "python\nshell\n")
    assert (results["pwsh"].ending, results["pwsh"].output) == (Ending.RAISED, "on\n")
    assert "jobs.pwsh.steps[0]: the shell 'pwsh' is not known here" in results["pwsh"].error
    assert not (tmp_path / "never").exists()


def test_an_output_of_a_job_that_cannot_be_worked_out_fails_it_with_its_place(tmp_path: Path) -> None:
    result = ran(tmp_path, "a: {runs-on: x, outputs: {o: \"${{ fromJSON('{') }}\"}, steps: [{run: echo on}]}")["a"]
    assert (result.ending, result.return_code, result.output) == (Ending.RAISED, 1, "on\n")
    assert "line 3: jobs.a: " in result.error
    assert "fromJSON" in result.error


# The host


def test_a_checkout_of_a_tag_is_one_and_the_payload_is_in_no_variable(tmp_path: Path) -> None:
    for command in (
        ["init", "-q", "-b", "trunk"],
        ["remote", "add", "origin", "https://example.org/some/where.git/"],
        ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "x"],
        ["-c", "user.name=x", "-c", "user.email=x@y", "tag", "v1"],
        ["checkout", "-q", "--detach", "v1"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    result = ran(
        tmp_path,
        """
        a:
          runs-on: x
          steps:
            - run: echo "$GITHUB_REF $GITHUB_REF_NAME $GITHUB_REF_TYPE $GITHUB_REPOSITORY $GITHUB_REPOSITORY_OWNER"
            - run: echo "${GITHUB_EVENT-none}"
        """,
    )["a"]
    assert result.output == "refs/tags/v1 v1 tag some/where some\nnone\n"


def test_a_job_for_another_system_is_known_by_any_of_its_labels_in_any_case(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        a: {runs-on: "${{ fromJSON('[\\"self-hosted\\", \\"windows\\"]') }}", steps: [{run: touch never}]}
        b: {runs-on: [self-hosted, macOS], steps: [{run: touch never}]}
        c: {runs-on: Windows-2022, steps: [{run: touch never}]}
        """,
    )
    assert set(endings(results).values()) == {"skipped"}
    assert not (tmp_path / "never").exists()


def test_where_nobody_can_work_out_whether_a_job_may_fail_it_may_not(tmp_path: Path) -> None:
    job = "a: {runs-on: x, continue-on-error: \"${{ fromJSON('{') }}\", steps: [{name: bad, run: exit 3}]}"
    result = ran(tmp_path, job)["a"]
    assert (result.ending, result.return_code, result.tolerated) == (Ending.RAISED, 3, False)
    assert steps_of(result)["bad"] == "raised"


def test_a_step_that_is_refused_says_that_and_nothing_of_its_variables(tmp_path: Path) -> None:
    step = "{run: touch never, shell: pwsh, env: {X: \"${{ fromJSON('{') }}\"}}"
    result = ran(tmp_path, f"a: {{runs-on: x, steps: [{step}]}}")["a"]
    assert "refused: the shell 'pwsh' is not used here" in result.error
    assert "fromJSON" not in result.error
    assert not (tmp_path / "never").exists()
