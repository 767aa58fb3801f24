"""Workflow files of GitHub Actions, run: what a job sees, which steps and jobs run, what they hand on."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from orchestrator import ConfigError, Ending, ExecutionResult, Limits
from orchestrator.pipelines.actions.concurrency import Superseded
from orchestrator.pipelines.actions.running import JobEnd
from orchestrator.pipelines.loading import Pipeline, load_pipeline
from tests.pipelines.acts import endings, ran, results_of, steps_of, write
from tests.waiting import eventually, is_alive, lines_of, wait_gone

# What steps see


def test_variables_of_three_levels_and_expressions_reach_the_steps(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        show:
          runs-on: ubuntu-latest
          env: {B: job, C: job, D: "${{ github.job }}+job"}
          steps:
            - env: {C: step}
              run: echo "$A $B $C $D ${{ env.C }} ${{ env.A }}"
            - run: echo "$C"
        """,
        top="env: {A: top, B: top}\n",
    )["show"]
    assert result.output == "top job step show+job step top\njob\n", result.error


def test_defaults_and_a_steps_own_shell_and_directory_decide_how_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    result = ran(
        tmp_path,
        """
        show:
          runs-on: ubuntu-latest
          defaults: {run: {working-directory: sub}}
          steps:
            - run: pwd
            - {run: pwd, working-directory: sub/deep}
            - run: |
                import os
                print("python in", os.path.basename(os.getcwd()))
              shell: python
            - run: echo "custom ${0##*/}"
              shell: sh -eu {0}
            - run: |
                false | true
                echo "not reached"
              shell: bash
        """,
    )["show"]
    first, second, third, fourth, fifth = result.stages
    assert first.output == f"{tmp_path}/sub\n"
    assert second.output == f"{tmp_path}/sub/deep\n"
    assert third.output == "python in sub\n"
    assert fourth.output.startswith("custom step-4")
    assert (fifth.return_code, fifth.output) == (1, ""), "bash as a shell means pipefail"


def test_without_a_shell_the_first_failing_line_ends_the_step_and_a_pipe_may_fail(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        show:
          runs-on: ubuntu-latest
          steps:
            - run: |
                false | echo "a pipe"
                false
                echo never
        """,
    )["show"]
    assert (result.output, result.return_code, result.ending) == ("a pipe\n", 1, Ending.RAISED)


def test_what_a_step_tells_in_its_files_holds_for_later_ones(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        show:
          runs-on: ubuntu-latest
          outputs: {all: "${{ steps.tell.outputs.one }}-${{ steps.tell.outputs.many }}"}
          steps:
            - id: tell
              run: |
                mkdir -p bin; printf '#!/bin/sh\\necho found' > bin/mine; chmod +x bin/mine
                echo "$PWD/bin" >> "$GITHUB_PATH"
                echo "WORD=said" >> "$GITHUB_ENV"
                { echo 'LINES<<EOT'; echo 'a=1'; echo b; echo EOT; } >> "$GITHUB_ENV"
                echo "one=1" >> "$GITHUB_OUTPUT"
                printf 'many<<X\\n2\\n3\\nX\\n' >> "$GITHUB_OUTPUT"
                echo "[$WORD]"
                echo "## Summary" >> "$GITHUB_STEP_SUMMARY"
            - run: |
                mine; echo "$WORD/${{ env.WORD }}"; echo "$LINES"
                echo "${{ steps.tell.outputs.one }} ${{ steps.tell.conclusion }}"
                echo "more" >> "$GITHUB_STEP_SUMMARY"
        """,
    )["show"]
    assert [step.output for step in result.stages] == ["[]\n", "found\nsaid/said\na=1\nb\n1 success\n"], result.error
    assert result.value == JobEnd({"all": "1-2\n3"}, "## Summary\nmore\n")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("echo nonsense >> $GITHUB_ENV", "GITHUB_ENV, line 1: 'nonsense' is neither name=value"),
        ("printf 'a=1\\nb<<END\\nx\\n' >> $GITHUB_OUTPUT", "GITHUB_OUTPUT, line 2: the value of 'b' does not end"),
        ("echo '=x' >> $GITHUB_OUTPUT", "a value without a name"),
        ("rm $GITHUB_ENV; mkfifo $GITHUB_ENV", "no regular file any more"),
        ("head -c 2000000 /dev/zero | tr '\\0' x >> $GITHUB_ENV", "more than 1 MiB"),
    ],
)
def test_what_nobody_can_read_in_those_files_fails_the_step_with_its_place(
    tmp_path: Path, written: str, words: str
) -> None:
    result = ran(tmp_path, f"a:\n  runs-on: x\n  steps:\n    - run: |\n        {written}\n")["a"]
    assert result.ending is Ending.RAISED
    assert words in result.error
    assert "jobs.a.steps[0]" in result.error


def test_the_contexts_tell_of_this_machine_and_its_repository(tmp_path: Path) -> None:
    for command in (
        ["git", "init", "-q", "-b", "trunk"],
        ["git", "remote", "add", "origin", "git@example.org:some/where.git"],
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    path = write(
        tmp_path,
        """
        name: Mine
        on: push
        jobs:
          show:
            runs-on: ubuntu-latest
            steps:
              - env: {GITHUB: "${{ toJSON(github) }}", RUNNER: "${{ toJSON(runner) }}"}
                run: |
                  printf %s "$GITHUB" > github.json
                  printf %s "$RUNNER" > runner.json
                  cp "$GITHUB_EVENT_PATH" event.json
                  echo "$CI $GITHUB_ACTIONS $GITHUB_JOB $GITHUB_REPOSITORY $RUNNER_OS $GITHUB_REF_NAME"
                  test -d "$RUNNER_TEMP"
        """,
    )
    pipeline = load_pipeline(path, event_name="pull_request", event={"number": 7, "text": "it's"})
    result = results_of(pipeline)["show"]
    assert result.output == "true true show some/where Linux trunk\n", result.error
    github = json.loads((tmp_path / "github.json").read_text())
    assert github["sha"] == head.stdout.strip()
    assert (github["ref"], github["workspace"], github["event"]["number"]) == ("refs/heads/trunk", str(tmp_path), 7)
    assert (github["event_name"], github["workflow"], github["job"]) == ("pull_request", "Mine", "show")
    assert json.loads((tmp_path / "event.json").read_text()) == {"number": 7, "text": "it's"}
    assert json.loads((tmp_path / "runner.json").read_text())["os"] == "Linux"


def test_the_folder_for_temporary_files_is_the_jobs_own_and_gone_afterwards(tmp_path: Path) -> None:
    jobs = """
    {0}:
      runs-on: x
      steps:
        - run: echo "$RUNNER_TEMP" > temp-{0}; touch "$RUNNER_TEMP/left"; stat -c %a "$RUNNER_TEMP"
    """
    results = ran(tmp_path, jobs.format("a") + jobs.format("b"))
    folders = {(tmp_path / f"temp-{name}").read_text().strip() for name in ("a", "b")}
    assert len(folders) == 2
    assert results["a"].output == "700\n"
    assert not any(os.path.exists(folder) for folder in folders)


def test_files_can_be_hashed_and_values_stay_values(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("1")
    result = ran(
        tmp_path,
        """
        show:
          runs-on: x
          steps:
            - env: {NASTY: "$(touch pwned) `touch pwned` ; touch pwned"}
              run: echo "$NASTY ${{ hashFiles('*.lock') }}${{ hashFiles('nothing*') }}"
        """,
    )["show"]
    assert len(result.output.split()[-1]) == 64
    assert not (tmp_path / "pwned").exists()


# Which steps run


def test_a_failed_step_skips_the_later_ones_but_those_that_ask_for_it(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        x:
          runs-on: x
          steps:
            - {name: good, run: "true"}
            - {name: bad, id: bad, run: exit 4}
            - {name: plain, run: touch plain}
            - {name: mourn, if: failure(), run: "echo ${{ steps.bad.outcome }} ${{ job.status }}"}
            - {name: clean, if: always(), run: echo clean}
            - {name: never, if: "success() || cancelled()", run: "true"}
            - {name: fussy, if: "${{ always() && steps.bad.conclusion == 'success' }}", run: "true"}
        """,
    )["x"]
    assert steps_of(result) == {
        "good": "ok",
        "bad": "raised",
        "plain": "skipped",
        "mourn": "ok",
        "clean": "ok",
        "never": "skipped",
        "fussy": "skipped",
    }
    assert result.return_code == 4
    assert result.error.endswith("'bad' failed: exited with code 4\n")
    assert result.output == "failure failure\nclean\n"
    assert result.stages[2].reason == "skipped: 'bad' failed\n"
    assert not (tmp_path / "plain").exists()


def test_a_step_that_may_fail_lets_the_job_go_on_and_tells_both(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        x:
          runs-on: x
          steps:
            - {id: flaky, run: exit 1, continue-on-error: true}
            - run: echo "${{ steps.flaky.outcome }} ${{ steps.flaky.conclusion }}"
            - {id: strict, run: exit 1, continue-on-error: "${{ false }}"}
        """,
    )["x"]
    assert result.output == "failure success\n"
    assert (result.ending, result.stages[0].tolerated) == (Ending.RAISED, True)


def test_a_step_is_stopped_after_its_minutes_and_the_job_after_its_own(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        step:
          runs-on: x
          steps:
            - {run: "echo begun; sleep 60 & sleep 60", timeout-minutes: 0.01}
            - {if: always(), run: echo clean}
        job:
          runs-on: x
          timeout-minutes: "${{ 0.01 }}"
          steps:
            - run: sleep 0.3
            - run: sleep 60
            - run: touch never
            - {if: always(), run: echo cleaned up all the same}
        """,
    )
    assert [(part.ending, part.output) for part in result["step"].stages] == [
        (Ending.TIMED_OUT, "begun\n"),
        (Ending.OK, "clean\n"),
    ]
    job = result["job"]
    assert [part.ending for part in job.stages] == [Ending.OK, Ending.TIMED_OUT, Ending.SKIPPED, Ending.OK]
    assert (job.ending, job.return_code, job.output) == (Ending.TIMED_OUT, 124, "cleaned up all the same\n")
    assert not (tmp_path / "never").exists()


def test_an_expression_that_cannot_be_evaluated_fails_its_step_with_the_place(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        """
        x:
          runs-on: x
          steps:
            - run: echo ${{ fromJSON('{') }}
            - {if: always(), run: echo on}
        """,
    )["x"]
    assert (result.ending, result.output) == (Ending.RAISED, "on\n")
    assert "jobs.x.steps[0]" in result.error
    assert "fromJSON" in result.error


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{run: ls, timeout-minutes: \"${{ 'soon' }}\"}", "timeout-minutes must be a number above zero, not 'soon'"),
        ("{run: ls, working-directory: nowhere}", "is gone"),
        ("{run: ls, shell: '/no/such/shell {0}'}", "/no/such/shell"),
        ('{run: "echo ${{ secrets.TOKEN }}"}', "secrets"),
    ],
)
def test_a_step_that_cannot_be_run_is_a_failure_that_says_why(tmp_path: Path, step: str, words: str) -> None:
    result = ran(tmp_path, f"x:\n  runs-on: x\n  steps:\n    - {step}\n    - {{if: failure(), run: echo on}}\n")["x"]
    assert result.ending is Ending.RAISED
    assert words in result.error


# What is not run here


def test_actions_are_skipped_by_name_and_a_checkout_does_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        on: push
        jobs:
          x:
            runs-on: x
            steps:
              - uses: actions/checkout@v4
              - uses: actions/setup-node@v4
                with: {token: "${{ secrets.TOKEN }}"}
              - run: echo on
        """,
    )
    pipeline = load_pipeline(path)
    assert any("actions/setup-node@v4" in warning and "skipped" in warning for warning in pipeline.warnings)
    assert not any("checkout" in warning for warning in pipeline.warnings)
    result = results_of(pipeline)["x"]
    assert [part.ending for part in result.stages] == [Ending.OK, Ending.SKIPPED, Ending.OK]
    assert result.output == "on\n"


@pytest.mark.parametrize("spelling", ["github.token", "GitHub . Token", "github['token']", "secrets.GITHUB_TOKEN"])
def test_a_step_that_needs_a_token_is_refused(tmp_path: Path, spelling: str) -> None:
    step = f'run: "echo [${{{{ {spelling} }}}}]"'
    path = write(tmp_path, f"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {step}\n")
    pipeline = load_pipeline(path)
    assert any("refused: uses secrets, or GitHub's token" in warning for warning in pipeline.warnings)
    result = results_of(pipeline)["a"]
    assert (result.ending, result.output) == (Ending.RAISED, "")


def test_jobs_for_another_system_are_known_beforehand_where_they_can_be(tmp_path: Path) -> None:
    text = """
    on: push
    jobs:
      a: {runs-on: "${{ matrix.os }}", strategy: {matrix: {os: [ubuntu-latest, macos-14]}}, steps: [{run: "true"}]}
      b: {runs-on: windows-2022, steps: [{run: "true"}]}
    """
    notes = [note.what for note in load_pipeline(write(tmp_path, text)).notes if note.kind == "skipped"]
    assert notes == [
        "a (macos-14) runs on 'macos-14', and this is Linux",
        "b runs on 'windows-2022', and this is Linux",
    ]


def test_jobs_that_need_more_than_this_machine_are_refused_and_fail_what_needs_them(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        box:
          runs-on: ubuntu-latest
          container: alpine
          steps: [{run: touch ran}]
        served:
          runs-on: ubuntu-latest
          services: {db: {image: postgres}}
          steps: [{run: touch ran}]
        called:
          uses: ./.github/workflows/other.yml
        after:
          needs: box
          runs-on: ubuntu-latest
          steps: [{run: touch ran}]
        """,
    )
    assert endings(results) == {"box": "raised", "served": "raised", "called": "raised", "after": "skipped"}
    assert all("refused" in results[name].error for name in ("box", "served", "called"))
    assert not (tmp_path / "ran").exists()


def test_a_job_for_another_system_is_skipped_and_says_so(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        x:
          runs-on: ${{ matrix.os }}
          strategy: {matrix: {os: [ubuntu-latest, windows-latest, macos-14]}}
          steps: [{run: echo on}]
        then:
          needs: x
          runs-on: [self-hosted, linux]
          steps: [{run: "echo ${{ needs.x.result }}"}]
        """,
    )
    assert list(endings(results).values()) == ["ok", "skipped", "skipped", "ok"]
    assert results["x (windows-latest)"].error == "skipped because it runs on 'windows-latest', and this is Linux\n"
    assert results["then"].output == "success\n"


# Jobs and what they hand on


def test_needs_decide_the_order_and_hand_on_outputs_and_results(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        report:
          needs: [build, lint, docs]
          if: always()
          runs-on: x
          steps:
            - env: {V: "${{ needs.build.outputs.version }}", R: "${{ needs.build.result }}"}
              run: echo "$V $R ${{ needs.lint.result }} ${{ needs.docs.result }}"
        build:
          runs-on: x
          outputs: {version: "${{ steps.v.outputs.version }}"}
          steps: [{id: v, run: echo version=1.2 >> $GITHUB_OUTPUT}]
        lint:
          runs-on: x
          steps: [{run: exit 1}]
        docs:
          needs: lint
          runs-on: x
          steps: [{run: touch never}]
        mourn:
          needs: docs
          if: failure()
          runs-on: x
          steps: [{run: echo mourning}]
        """,
    )
    assert endings(results) == {"report": "ok", "build": "ok", "lint": "raised", "docs": "skipped", "mourn": "ok"}
    assert results["report"].output == "1.2 success failure skipped\n"
    assert results["docs"].error == "skipped because 'lint' ended with 'failure'\n"


def test_a_job_that_may_fail_counts_as_a_success_for_others_and_is_told_as_failed(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        a:
          runs-on: x
          continue-on-error: true
          steps: [{run: exit 3}]
        b:
          needs: a
          runs-on: x
          steps: [{run: "echo ${{ needs.a.result }}"}]
        """,
    )
    assert (results["a"].ending, results["a"].tolerated, results["a"].return_code) == (Ending.RAISED, True, 3)
    assert results["b"].output == "success\n"


def test_a_job_skipped_by_its_own_condition_skips_what_needs_it(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        a: {if: "github.ref == 'refs/heads/none'", runs-on: x, steps: [{run: touch never}]}
        b: {needs: a, runs-on: x, steps: [{run: touch never}]}
        c: {needs: a, if: "!failure()", runs-on: x, steps: [{run: echo on}]}
        """,
    )
    assert endings(results) == {"a": "skipped", "b": "skipped", "c": "ok"}
    assert "github.ref ==" in results["a"].error


# Matrices


def test_every_combination_is_a_job_of_its_own(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        t:
          runs-on: x
          strategy:
            matrix:
              py: ["3.11", "3.12"]
              db: [a, b]
              exclude: [{py: "3.11", db: b}]
              include: [{py: "3.13", db: c, extra: "yes"}, {py: "3.12", extra: some}]
          steps:
            - env: {PLACE: "${{ strategy.job-index }}/${{ strategy.job-total }}"}
              run: echo "${{ matrix.py }}/${{ matrix.db }}/${{ matrix.extra }} $PLACE"
        """,
    )
    assert {name: result.output.strip() for name, result in results.items()} == {
        "t (3.11, a)": "3.11/a/ 0/4",
        "t (3.12, a)": "3.12/a/some 1/4",
        "t (3.12, b)": "3.12/b/some 2/4",
        "t (3.13, c, yes)": "3.13/c/yes 3/4",
    }


def test_the_first_failure_of_a_matrix_cancels_its_others_unless_it_may_not(tmp_path: Path) -> None:
    job = """
    {0}:
      runs-on: x
      strategy:
        {1}
        matrix: {{n: [bad, hangs, tolerated]}}
      continue-on-error: ${{{{ matrix.n == 'tolerated' }}}}
      steps:
        - run: |
            if [ ${{{{ matrix.n }}}} = hangs ]; then {2}; fi
            if [ ${{{{ matrix.n }}}} = bad ]; then until [ -e {0}-up ]; do sleep 0.02; done; fi
            exit 1
        - {{if: always(), run: "echo cleaned ${{{{ job.status }}}}"}}
    other{0}:
      runs-on: x
      steps: [{{run: "sleep 0.5; echo done"}}]
    """
    results = ran(
        tmp_path,
        job.format("fast", "fail-fast: true", "touch fast-up; sleep 60")
        + job.format("slow", "fail-fast: false", "touch slow-up; sleep 0.4; exit 0"),
    )
    assert endings(results) == {
        "fast (bad)": "raised",
        "fast (hangs)": "cancelled",
        "fast (tolerated)": "raised",
        "otherfast": "ok",
        "slow (bad)": "raised",
        "slow (hangs)": "ok",
        "slow (tolerated)": "raised",
        "otherslow": "ok",
    }
    assert results["fast (hangs)"].output == "cleaned cancelled\n"


def test_so_many_of_a_matrix_run_at_a_time(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        t:
          runs-on: x
          strategy: {max-parallel: 2, matrix: {n: [1, 2, 3, 4, 5, 6]}}
          steps:
            - run: |
                touch at-${{ matrix.n }}; ls at-* | wc -l > seen-${{ matrix.n }}; sleep 0.1; rm at-${{ matrix.n }}
        """,
    )
    assert set(endings(results).values()) == {"ok"}
    assert {int(path.read_text()) for path in tmp_path.glob("seen-*")} <= {1, 2}


def test_a_matrix_that_an_earlier_job_says_is_worked_out_when_its_turn_comes(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        plan:
          runs-on: x
          outputs: {list: "${{ steps.p.outputs.list }}"}
          steps: [{id: p, run: "echo 'list=[\\"a\\", \\"b\\"]' >> $GITHUB_OUTPUT"}]
        work:
          needs: plan
          runs-on: x
          strategy: {fail-fast: false, matrix: {what: "${{ fromJSON(needs.plan.outputs.list) }}"}}
          outputs: {last: "${{ matrix.what }}"}
          steps: [{run: "echo ${{ matrix.what }}; test ${{ matrix.what }} = a"}]
        """,
    )
    work = results["work"]
    assert [(part.name, part.ending.value, part.output) for part in work.stages] == [
        ("work (a)", "ok", "a\n"),
        ("work (b)", "raised", "b\n"),
    ]
    assert (work.ending, work.return_code) == (Ending.RAISED, 1)


def test_a_matrix_that_turns_out_to_be_none_fails_its_job(tmp_path: Path) -> None:
    results = ran(
        tmp_path,
        """
        plan: {runs-on: x, outputs: {m: "[]"}, steps: [{run: "true"}]}
        work:
          needs: plan
          runs-on: x
          strategy: {matrix: {what: "${{ fromJSON(needs.plan.outputs.m) }}"}}
          steps: [{run: touch never}]
        """,
    )
    assert results["work"].ending is Ending.RAISED
    assert "jobs.work" in results["work"].error
    assert not (tmp_path / "never").exists()


def test_two_hundred_and_fifty_six_jobs_run_and_ten_thousand_are_refused(tmp_path: Path) -> None:
    matrix = "{{n: [{0}], m: [{0}]}}"
    text = "x:\n  runs-on: x\n  strategy: {{matrix: {0}}}\n  steps: [{{run: exit 0}}]\n"
    many = ",".join(map(str, range(16)))
    results = ran(tmp_path, text.format(matrix.format(many)), max_concurrency=8)
    assert len(results) == 256
    assert set(endings(results).values()) == {"ok"}
    too_many = ",".join(map(str, range(100)))
    with pytest.raises(ConfigError, match=r"10,?000"):
        ran(tmp_path, text.format(matrix.format(too_many)))


# Stopping


def test_a_cancelled_run_stops_what_runs_and_only_what_says_always_goes_on(tmp_path: Path) -> None:
    pipeline = load_pipeline(
        write(
            tmp_path,
            """
            on: push
            jobs:
              a:
                runs-on: x
                steps:
                  - {name: hang, run: "echo $$ > pid; sleep 60"}
                  - {name: plain, run: touch never}
                  - {name: if cancelled, if: cancelled(), run: "echo ${{ job.status }}"}
                  - {name: if failed, if: failure(), run: touch never}
              b: {needs: a, runs-on: x, steps: [{run: touch never}]}
              c: {needs: a, if: always(), runs-on: x, steps: [{run: "echo cleaned ${{ job.status }}"}]}
            """,
        )
    )
    found: list[dict[str, ExecutionResult]] = []
    thread = threading.Thread(target=lambda: found.append(results_of(pipeline)))
    thread.start()
    pid = int(eventually(lambda: lines_of(tmp_path / "pid"))[0])
    pipeline.cancellation.request()
    thread.join(30)
    (results,) = found
    assert endings(results) == {"a": "cancelled", "b": "skipped", "c": "ok"}
    assert steps_of(results["a"]) == {
        "hang": "cancelled", "plain": "skipped", "if cancelled": "ok", "if failed": "skipped",
    }  # fmt: skip
    assert results["a"].output == "cancelled\n"
    assert results["c"].output == "cleaned success\n", "a job that runs in any case knows nothing of it"
    assert results["b"].error == "skipped because the run was cancelled\n"
    assert not is_alive(pid)
    assert not (tmp_path / "never").exists()


def test_stopping_everything_stops_what_says_always_too(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        on: push
        jobs:
          a:
            runs-on: x
            steps:
              - {if: always(), run: "setsid sh -c 'echo $$ > pid; sleep 60' & sleep 60"}
              - {if: always(), run: touch never}
        """,
    )
    flow = load_pipeline(path).workflow()
    thread = threading.Thread(target=flow.run)
    thread.start()
    pid = int(eventually(lambda: lines_of(tmp_path / "pid"))[0])
    flow.cancel()
    thread.join(30)
    assert not thread.is_alive()
    assert flow.results["a"].ending is Ending.CANCELLED
    wait_gone(pid)
    assert not (tmp_path / "never").exists()


# Concurrency


def test_jobs_of_one_concurrency_group_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    alone = "mkdir lock && sleep 0.3 && rmdir lock && echo alone"
    job = "{0}:\n  runs-on: x\n  concurrency: {{group: deploy}}\n  steps: [{{run: {1}}}]\n"
    results = ran(tmp_path, "".join(job.format(name, alone) for name in ("a", "b")))
    assert {result.output for result in results.values()} == {"alone\n"}, endings(results)
    assert (tmp_path / "meet" / "orchestrator" / "concurrency").stat().st_mode & 0o777 == 0o700


def test_of_several_that_wait_only_the_newest_gets_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    text = """
    on: push
    concurrency: ${{ github.workflow }}
    jobs:
      a: {runs-on: x, steps: [{run: "echo begun >> log; until [ -e go ]; do sleep 0.02; done"}]}
    """
    outcomes: dict[int, str] = {}

    def drive(number: int, pipeline: Pipeline) -> None:
        try:
            with pipeline.turn():
                outcomes[number] = results_of(pipeline)["a"].ending.value
        except Superseded as error:
            outcomes[number] = str(error)

    path = write(tmp_path, text)
    threads = [threading.Thread(target=drive, args=(number, load_pipeline(path))) for number in range(3)]
    threads[0].start()
    eventually(lambda: lines_of(tmp_path / "log"))
    for thread in threads[1:]:
        before = last_of(tmp_path)
        thread.start()
        eventually(lambda before=before: last_of(tmp_path) != before)  # type: ignore[misc]
    threads[1].join(20)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(20)
    assert outcomes[0] == outcomes[2] == "ok"
    assert "something newer waits in the concurrency group" in outcomes[1]


def last_of(folder: Path) -> str:
    """Return who came last to the one concurrency group there is."""
    (last,) = folder.joinpath("meet").rglob("*.last")
    return last.read_text()


def test_a_newer_run_that_asks_for_it_cancels_the_one_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    text = """
    on: push
    concurrency: {group: one, cancel-in-progress: true}
    jobs:
      a: {runs-on: x, steps: [{run: "echo begun >> log; until [ -e go ]; do sleep 0.02; done"}]}
    """
    outcomes: dict[int, str] = {}

    def drive(number: int, pipeline: Pipeline) -> None:
        with pipeline.turn():
            outcomes[number] = results_of(pipeline)["a"].ending.value

    path = write(tmp_path, text)
    threads = [threading.Thread(target=drive, args=(number, load_pipeline(path))) for number in range(2)]
    threads[0].start()
    eventually(lambda: lines_of(tmp_path / "log"))
    threads[1].start()
    threads[0].join(20)
    assert outcomes == {0: "cancelled"}
    (tmp_path / "go").touch()
    threads[1].join(20)
    assert outcomes == {0: "cancelled", 1: "ok"}


# Whole files, as people write them

_FILES = Path(__file__).parent / "workflows"
FILES = {
    "anchors": {},
    "calling": {"call": "raised", "remote": "raised", "background": "raised"},
    "features": {},
    "integration": {"database": "raised", "inside": "raised", "image": "raised"},
    "monorepo": {},
    "nightly": {"experimental": "raised"},
    "node_build": {},
    "python_tests": {},
    "release": {"announce": "raised"},
}
"""The workflow files of these tests, and the jobs of each that do not end well here."""


def test_every_file_is_known() -> None:
    assert {path.stem for path in _FILES.glob("*.yml")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_runs_and_what_is_refused_alone_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "meet"))
    pipeline = load_pipeline(write(tmp_path, (_FILES / f"{name}.yml").read_text(encoding="utf-8")))
    with pipeline.turn():
        results = results_of(pipeline, max_concurrency=4)
    ended = {job: ending for job, ending in endings(results).items() if ending not in ("ok", "skipped")}
    assert ended == FILES[name], {job: results[job].error for job in ended}
    refused = {warning.partition(": refused")[0] for warning in pipeline.warnings if ": refused: " in warning}
    assert refused or not any("refused" in result.error for result in results.values())


@pytest.mark.parametrize("limits", [Limits(0.5), Limits(memory="100M")])
def test_jobs_keep_to_the_limits_that_whoever_runs_them_sets(tmp_path: Path, limits: Limits) -> None:
    hog = "python3 -c 'import time; held = bytearray(b\"x\") * (300 << 20); time.sleep(60)'"
    job = f"a:\n  runs-on: x\n  timeout-minutes: 60\n  steps:\n    - run: |\n        {hog}\n"
    ending = ran(tmp_path, job, limits=limits)["a"].ending
    assert ending is (Ending.TIMED_OUT if limits.seconds else Ending.OUT_OF_MEMORY)
