"""The expression language of GitHub Actions: its examples, its edges, and that no text makes it fail in another way."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.pipelines.actions.expressions import (
    Expression,
    ExpressionError,
    Scope,
    Value,
    parse,
    parse_condition,
    parse_template,
    text_of,
    truthy,
)

checked = settings(deadline=None)

CONTEXTS: dict[str, Value] = {
    "github": {"ref": "refs/heads/main", "event_name": "push", "event": {"issue": {"labels": [{"name": "bug"}, {}]}}},
    "env": {"MY_ENV_VAR": "my value", "EMPTY": "", "COUNT": "10", "time": "3"},
    "matrix": {"os": "ubuntu-latest", "Python": 3.12, "jobs": [1, "two", None, True]},
    "steps": {"build": {"outputs": {"digest": "abc"}, "outcome": "success"}},
    "vegetables": {
        "scallions": {"colors": ["green", "white", "red"], "ediblePortions": ["roots", "stalks"]},
        "beets": {"colors": ["purple", "red", "gold"], "ediblePortions": ["roots", "stems", "leaves"]},
        "artichokes": {"colors": ["green", "purple"], "ediblePortions": ["hearts", "stems", "leaves"]},
    },
    "fruits": [{"name": "apple", "quantity": 1}, {"name": "orange", "quantity": 2}, {"name": "pear", "quantity": 1}],
}
SCOPE = Scope(CONTEXTS, {"success": lambda _: True, "failure": lambda _: False, "always": lambda _: True})


def value_of(text: str, scope: Scope = SCOPE) -> Value:
    return parse(text).evaluate(scope)


def error_of(text: str, scope: Scope = SCOPE) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text).evaluate(scope)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Literals
        ("null", None),
        ("false", False),
        ("711", 711),
        ("-9.2", -9.2),
        ("0xff", 255),
        ("-2.99e-2", -0.0299),
        ("'Mona the Octocat'", "Mona the Octocat"),
        ("'It''s open source!'", "It's open source!"),
        # A ternary made of && and ||
        ("github.ref == 'refs/heads/main' && 'production' || 'staging'", "production"),
        ("github.ref == 'refs/heads/other' && 'production' || 'staging'", "staging"),
        # Functions
        ("contains('Hello world', 'llo')", True),
        ("contains(github.event.issue.labels.*.name, 'bug')", True),
        ("""contains(fromJSON('["push", "pull_request"]'), github.event_name)""", True),
        ("startsWith('Hello world', 'He')", True),
        ("endsWith('Hello world', 'ld')", True),
        ("format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')", "Hello Mona the Octocat"),
        ("format('{{Hello {0} {1} {2}!}}', 'Mona', 'the', 'Octocat')", "{Hello Mona the Octocat!}"),
        ("join(github.event.issue.labels.*.name, ', ')", "bug"),
        ("""fromJSON('{"include":[{"project":"foo","config":"Debug"}]}').include[0].config""", "Debug"),
        ("fromJSON('true') && 1", 1),
        ("fromJSON(env.time)", 3),
        ("case(github.event_name == 'push', 'pushed', 'otherwise')", "pushed"),
        # Object filters
        ("join(fruits.*.name)", "apple,orange,pear"),
        ("join(vegetables.*.ediblePortions.*, ' ')", "roots stalks roots stems leaves hearts stems leaves"),
    ],
)
def test_the_examples_of_the_documentation_have_the_values_it_gives(text: str, expected: Value) -> None:
    assert value_of(text) == expected
    assert isinstance(value_of(text), bool) == isinstance(expected, bool)


def test_tojson_writes_what_the_documentation_shows() -> None:
    assert value_of("toJSON(steps.build)") == (
        '{\n  "outputs": {\n    "digest": "abc"\n  },\n  "outcome": "success"\n}'
    )
    assert value_of("toJson(matrix.jobs)") == '[\n  1,\n  "two",\n  null,\n  true\n]'
    assert value_of("TOJSON(fromjson('[[], {}, \"é\\u2028\\n\"]'))") == '[\n  [],\n  {},\n  "é\\u2028\\n"\n]'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'abc' == 'ABC'", True),
        ("'É' == 'é'", True),
        ("'straße' == 'strasse'", False),
        ("1 == '1'", True),
        ("1 == ' 1.0 '", True),
        ("16 == '0x10'", True),
        ("8 == '0o10'", True),
        ("null == 0", True),
        ("null == ''", True),
        ("null == false", True),
        ("true == 1", True),
        ("true == '1'", True),
        ("true == 'true'", False),
        ("'' == 0", True),
        ("'a' == 0", False),
        ("NaN == NaN", False),
        ("NaN != NaN", True),
        ("Infinity == 'Infinity'", True),
        ("-Infinity < 0", True),
        ("matrix == matrix", True),
        ("fromJSON('[]') == fromJSON('[]')", False),
        ("matrix == 'Object'", False),
        ("matrix < matrix", False),
        ("matrix <= matrix", True),
        ("'a' < 'B'", True),
        ("'_' > 'Z'", True),
        ("'9' < '10'", False),
        ("9 < '10'", True),
        ("null < true", True),
        ("1 < 'x'", False),
        ("1 >= 'x'", False),
        ("1 <= 'x'", False),
        ("NaN <= NaN", False),
        ("'\u0131' == 'I'", False),  # no letter of ASCII is the capital of another one
        ("env.COUNT > 9", True),
    ],
)
def test_comparisons_are_loose_as_githubs(text: str, expected: bool) -> None:
    assert value_of(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!true || true", True),
        ("!(true || true)", False),
        ("!!'x'", True),
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("1 < 2 == true", True),
        ("1 == 1 < 1", False),
        ("3 > 2 > 1", False),
        ("2 != 1 == true", True),
        ("'' || 0 || null", None),
        ("'' || 'x' || unknown.context", "x"),
        ("0 && unknown.context", 0),
        ("'a' && 'b' && 'c'", "c"),
        (" \t\n1\r\n", 1),
        ("join ( fruits [ * ] . name , '-' )", "apple-orange-pear"),
    ],
)
def test_operators_bind_and_stop_as_githubs(text: str, expected: Value) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("github.nothing", None),
        ("github.nothing.at.all", None),
        ("GitHub.REF", "refs/heads/main"),
        ("matrix['PYTHON']", 3.12),
        ("matrix.python", 3.12),
        ("matrix.jobs[1]", "two"),
        ("matrix.jobs['1']", "two"),
        ("matrix.jobs[1.9]", "two"),
        ("matrix.jobs[-1]", None),
        ("matrix.jobs[4]", None),
        ("matrix.jobs[NaN]", None),
        ("matrix.jobs.length", None),
        ("matrix.jobs[true]", "two"),
        ("matrix[fruits]", None),
        ("('text').name", None),
        ("env.EMPTY.*", []),
        ("fruits.*[0]", []),
        ("fruits.*.quantity", [1, 2, 1]),
        ("fruits.*.nothing", []),
        ("github.event.issue.labels.*.name", ["bug"]),
        ("vegetables.*.colors[0]", ["green", "purple", "green"]),
        ('fromJSON(\'{"1": "one", "a b": 2}\')[1]', "one"),
        ('fromJSON(\'{"1": "one", "a b": 2}\')[\'a b\']', 2),
        ("github.true", None),
    ],
)
def test_what_is_not_there_is_null_and_keys_ignore_case(text: str, expected: Value) -> None:
    assert value_of(text) == expected


def test_a_key_written_exactly_comes_before_one_in_another_case() -> None:
    scope = Scope({"env": {"path": "small", "PATH": "large"}}, {})
    assert value_of("env.PATH", scope) == "large"
    assert value_of("env.path", scope) == "small"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("contains('abc', '')", True),
        ("contains('ABC', 'b')", True),
        ("contains(123, 2)", True),
        ("contains(matrix.jobs, 'TWO')", True),
        ("contains(matrix.jobs, '1')", True),
        ("contains(matrix.jobs, 'tw')", False),
        ("contains(matrix.jobs, null)", True),
        ("contains(matrix, 'os')", False),
        ("contains('Array', matrix.jobs)", False),
        ("startsWith(null, '')", True),
        ("startsWith('True', true)", True),
        ("startsWith(matrix, 'Obj')", False),
        ("endsWith(1.50, '5')", True),
        ("endsWith(matrix.jobs, 'y')", False),
        ("format('')", ""),
        ("format(null)", ""),
        ("format('{0}{0}{1}', 'a', matrix)", "aaObject"),
        ("format('{0}', '{1}')", "{1}"),
        ("format('}}{{}}')", "}{}"),
        ("format('{{{0}}}', 1)", "{1}"),
        ("join('text')", "text"),
        ("join(true)", "true"),
        ("join(matrix)", ""),
        ("join(fromJSON('[]'), '-')", ""),
        ("join(matrix.jobs, '')", "1twotrue"),
        ("join(matrix.jobs, null)", "1twotrue"),
        ("join(matrix.jobs, matrix)", "1,two,,true"),
        ("fromJSON('  [1e3, -0.5, \"\\u00e9\"] ')", [1000, -0.5, "é"]),
        ("case(false, unknown.x, true, 'second', fromJSON('{'))", "second"),
        ("case(false, 1, 'otherwise')", "otherwise"),
    ],
)
def test_the_functions_do_what_githubs_do(text: str, expected: Value) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (-0.0, "0"),
        (3.12, "3.12"),
        (0.1 + 0.2, "0.3"),
        (1e14, "100000000000000"),
        (1e15, "1E+15"),
        (123456789012345678, "1.23456789012346E+17"),
        (0.0001, "0.0001"),
        (0.00001, "1E-05"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_become_text_as_githubs_runner_writes_them(number: float, text: str) -> None:
    assert text_of(number) == text


def test_only_what_is_empty_or_nothing_is_false() -> None:
    false: list[Value] = [None, False, 0, 0.0, -0.0, float("nan"), ""]
    true: list[Value] = [True, 1, -1, float("inf"), "0", "false", " ", [], {}]
    assert [truthy(value) for value in false + true] == [False] * len(false) + [True] * len(true)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "an expression is missing"),
        ("  ", 3, "an expression is missing"),
        ("contians(1, 2)", 1, "unknown function 'contians'; did you mean 'contains'?"),
        ("1 == frobnicate(2)", 6, "there are contains, startsWith"),
        ("!(github.ref", 2, "this '(' is never closed"),
        ("github['ref'", 7, "this '[' is never closed"),
        ("join(fruits", 5, "this '(' is never closed"),
        ("join(", 6, "ends too early"),
        ("github.ref)", 11, "unexpected ')'"),
        ("(1]", 3, "unexpected ']'"),
        ("join(,)", 6, "unexpected ','"),
        ("join(fruits,)", 13, "unexpected ')'"),
        ("contains('a')", 1, "contains takes 2 arguments, not 1"),
        ("1 && join(1, 2, 3)", 6, "join takes 1 to 2 arguments, not 3"),
        ("always(1)", 1, "always takes no arguments, not 1"),
        ("toJSON()", 1, "toJSON takes 1 argument, not 0"),
        ("case(true, 1)", 1, "case takes pairs"),
        ("case(true)", 1, "case takes 3 to 255 arguments, not 1"),
        ("case(1, 1, 2)", 1, "a condition has to be true or false, which a number is not"),
        ("a == 'b", 6, "this quote is never closed"),
        ('a == "b"', 6, "text stands in single quotes"),
        ("a = b", 3, "to compare, write '=='"),
        ("a & b", 3, "write '&&'"),
        ("a | b", 3, "write '||'"),
        ("a % b", 3, "no arithmetic"),
        ("1 + 2", 3, "no arithmetic"),
        ("1-2", 1, "'1-2' is no number"),
        ("0xfg", 1, "'0xfg' is no number"),
        ("a b", 3, "unexpected 'b'"),
        ("'a'.b", 4, "unexpected '.'"),
        ("1[0]", 2, "unexpected '['"),
        ("foo.1", 5, "after a dot there is a name"),
        ("foo.", 5, "ends too early"),
        ("foo.b@r", 6, "unexpected '@'"),
        ("github.ref('x')", 11, "unexpected '('"),
        ("*", 1, "unexpected '*'"),
        ("&& a", 1, "unexpected '&&'"),
        ("a ||", 5, "ends too early"),
        ("a ${{ b", 3, "whole expression"),
        ("githbu.ref", 1, "no context 'githbu' here; did you mean 'github'?"),
        ("github.ref == main", 15, "no context 'main' here"),
        ("github.ref == qqqq", 15, "text stands in single quotes: 'qqqq'. Those here: env, fruits, github, matrix"),
        ("True", 1, "did you mean 'true'?"),
        ("cancelled()", 1, "cancelled() cannot be asked here"),
        ("1 == format('{0}')", 6, "nothing is given for {0}: 0 values given"),
        ("format('{0} {2}', 1, 2)", 1, "nothing is given for {2}"),
        ("format('{0')", 1, "the '{' at character 1"),
        ("format('a}b')", 1, "the '}' at character 2"),
        ("format('{x}')", 1, "the '{' at character 1"),
        ("format('{-1}', 1)", 1, "the '{' at character 1"),
        ("fromJSON('')", 1, "its text is empty"),
        ("fromJSON(github.nothing)", 1, "its text is empty"),
        ("fromJSON('{\"a\": 1,}')", 1, "no JSON in line 1, column 9"),
        ("fromJSON('[1,\n x]')", 1, "no JSON in line 2, column 2"),
        ("fromJSON(matrix)", 1, "no JSON in line 1, column 1"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_cure(text: str, column: int, said: str) -> None:
    error = error_of(text)
    assert said in str(error)
    assert error.column == column


def test_an_error_shows_the_line_and_a_caret_under_the_place() -> None:
    assert str(error_of("1 == contians(a)")).split("\n") == [
        "unknown function 'contians'; did you mean 'contains'? (column 6)",
        "  1 == contians(a)",
        "       ^",
    ]


def test_an_error_in_a_text_of_many_lines_names_its_line() -> None:
    error = error_of("true &&\n\tfalse ||\x1b\n foo(1)")
    assert (error.line, error.column) == (2, 10)
    assert str(error).split("\n") == [
        "unexpected '\\x1b' (line 2, column 10)",
        "  \ufffdfalse ||\ufffd",
        "           ^",
    ]


def test_an_error_far_right_shows_the_part_of_the_line_around_it() -> None:
    shown = str(error_of("'" + "x" * 3000 + "' == foo(1) || '" + "y" * 3000 + "'")).split("\n")
    assert max(map(len, shown[1:])) <= 102
    assert shown[1][shown[2].index("^") :].startswith("foo(1)")


def test_errors_travel_between_processes_with_their_place() -> None:
    error = pickle.loads(pickle.dumps(error_of("foo(1)")))
    assert (str(error), error.column, type(error)) == (str(error_of("foo(1)")), 1, ExpressionError)


def test_the_values_of_contexts_are_never_in_an_error() -> None:
    scope = Scope({"env": {"TOKEN": "s3cret{"}}, {})
    for text in ("fromJSON(env.TOKEN)", "format(env.TOKEN)", "case(env.TOKEN, 1, 2)", "env.TOKEN == main"):
        assert "s3cret" not in str(error_of(text, scope))


class _Refused(ExpressionError):
    pass


class _Refusing(Mapping[str, Value]):
    """Contexts of which one refuses to be read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Value:
        self.read.append(name)
        if name == "secrets":
            raise _Refused("secrets are not handed out here")
        return {"a": 1}

    def __iter__(self) -> Iterator[str]:
        return iter(("env", "secrets"))

    def __len__(self) -> int:
        return 2


def test_a_context_may_refuse_and_its_error_gets_the_place() -> None:
    with pytest.raises(_Refused) as caught:
        value_of("env.a == Secrets.TOKEN", Scope(_Refusing(), {}))
    assert caught.value.column == 10
    assert "secrets are not handed out here (column 10)" in str(caught.value)


def test_a_context_is_read_only_when_it_is_needed() -> None:
    contexts = _Refusing()
    assert value_of("ENV.a || secrets.x", Scope(contexts, {})) == 1
    assert contexts.read == ["env"]


def test_functions_of_the_scope_are_called_with_their_values() -> None:
    seen: list[Any] = []

    def hash_files(values: Sequence[Value]) -> Value:
        seen.append(list(values))
        return "hash"

    assert value_of("HashFiles('a', 1 == 1)", Scope({}, {"hashfiles": hash_files})) == "hash"
    assert seen == [["a", True]]


def test_an_error_of_a_function_of_the_scope_gets_the_place() -> None:
    def fails(_: object) -> Value:
        raise ExpressionError("no such folder")

    assert str(error_of("1 == hashFiles('x')", Scope({}, {"hashfiles": fails}))).startswith("no such folder (column 6)")


def test_an_expression_tells_what_it_mentions_without_being_run() -> None:
    expression = parse("GitHub.ref == env['x'] && Contains(needs.*.result, matrix.os) || foo.steps")
    assert expression.contexts == {"github", "env", "needs", "matrix", "foo"}
    assert expression.functions == {"contains"}
    assert parse(" 1 ").text == "1"
    assert parse("a.b") == parse("a.b") != parse("a.c")


# Conditions


@pytest.mark.parametrize(
    ("text", "success", "expected"),
    [
        ("", True, True),
        ("  \n", False, False),
        ("env.COUNT == 10", True, True),
        ("env.COUNT == 10", False, False),
        ("false || true", False, False),
        ("${{ env.COUNT == 10 }}", True, True),
        ("  ${{ env.COUNT == 10 }}\n", False, False),
        ("always()", False, True),
        ("${{ always() }}", False, True),
        ("failure() || true", False, True),
        ("Always() && env.EMPTY", False, False),
        ("env.EMPTY", True, False),
        ("contains('success()', 'x') == false", False, False),
        ("contains('}}', '}}')", True, True),
        ("${{ contains('}}', '}}') }}", True, True),
    ],
)
def test_a_condition_asks_for_success_unless_it_asks_for_the_status(text: str, success: bool, expected: bool) -> None:
    scope = Scope(CONTEXTS, {**SCOPE.functions, "success": lambda _: success, "failure": lambda _: not success})
    condition = parse_condition(text)
    assert truthy(condition.evaluate(scope)) is expected
    assert condition.functions & {"success", "failure", "always", "cancelled"}


@pytest.mark.parametrize(
    ("text", "column"),
    [("${{ a }} == b", 1), ("a == ${{ b }}", 6), ("${{ a }} && ${{ b }}", 1), ("! ${{ a }}", 3), ("x${{ a }}", 2)],
)
def test_a_condition_of_which_only_a_part_is_an_expression_is_refused(text: str, column: int) -> None:
    with pytest.raises(ExpressionError, match="put the whole condition in one") as caught:
        parse_condition(text)
    assert caught.value.column == column


def test_a_condition_may_be_as_deep_as_any_expression() -> None:
    assert truthy(parse_condition("!" * 48 + "(1)").evaluate(SCOPE))
    with pytest.raises(ExpressionError, match="an expression is missing"):
        parse_condition("${{ }}")


# Templates


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain $ { } }} text", "plain $ { } }} text"),
        ("${{ matrix.os }}", "ubuntu-latest"),
        ("on ${{ matrix.os }} with ${{ matrix.python }}!", "on ubuntu-latest with 3.12!"),
        ("${{1}}${{2}}", "12"),
        ("a${{ null }}b", "ab"),
        ("${{ '}}' }}", "}}"),
        ("${{ 'it''s }}' }}s", "it's }}s"),
        ("${{ '${{' }}", "${{"),
        ("${{ format('{0}}}', 1) }} it's", "1} it's"),
        ("${{ matrix.jobs }} ${{ matrix }}", "Array Object"),
        ("a\n${{ true\n}}\nb", "a\ntrue\nb"),
        ("$${{ 1 }}}}", "$1}}"),
    ],
)
def test_a_template_is_filled_with_the_values_as_text(text: str, filled: str) -> None:
    assert parse_template(text).fill(SCOPE) == filled


def test_a_template_that_is_one_expression_keeps_the_kind_of_its_value() -> None:
    assert parse_template("${{ matrix.jobs }}").value(SCOPE) == [1, "two", None, True]
    assert parse_template("${{ 3 }}").value(SCOPE) == 3
    assert parse_template(" ${{ 3 }}").value(SCOPE) == " 3"
    assert parse_template("${{ 3 }}${{ 4 }}").value(SCOPE) == "34"
    assert parse_template("3").value(SCOPE) == "3"
    assert parse_template("").value(SCOPE) == ""


def test_a_template_tells_what_it_mentions() -> None:
    template = parse_template("${{ env.A }} ${{ join(matrix.x) }}")
    assert (template.contexts, template.functions) == (frozenset({"env", "matrix"}), frozenset({"join"}))
    assert not template.is_plain
    plain = parse_template("env.A }}")
    assert (plain.contexts, plain.functions) == (frozenset(), frozenset())
    assert plain.is_plain
    assert plain.text == "env.A }}"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("ab ${{ c", 1, 4, "never closed by a '}}'"),
        ("${{ a }} ${{ 'b }}", 1, 10, "the quote 4 characters after it is not closed either"),
        ("${{ }}", 1, 5, "an expression is missing"),
        ("x: ${{ foo(1) }}", 1, 8, "unknown function 'foo'"),
        ("one\ntwo ${{ foo(1) }}", 2, 9, "unknown function 'foo'"),
        ("${{ ${{ 1 }} }}", 1, 5, "'${{' stands around"),
    ],
)
def test_a_mistake_in_a_template_has_its_place_in_the_whole_text(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(said)) as caught:
        parse_template(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_an_error_while_a_template_is_filled_has_its_place_too() -> None:
    with pytest.raises(ExpressionError, match="no context 'nope'") as caught:
        parse_template("echo ${{ nope.x }}").fill(SCOPE)
    assert caught.value.column == 10


# Limits


@pytest.mark.parametrize(
    "text",
    [
        "(" * 51 + "1" + ")" * 51,
        "(" * 20_000,
        "!" * 20_999 + "1",
        "a" + ".b" * 60,
        "a" + "[0]" * 5000,
        "a[" * 5000,
        "1" + " == 1" * 60,
        "toJSON(" * 51 + "1" + ")" * 51,
        "a" + ".*" * 5000,
        "(1==" * 2000,
    ],
)
def test_what_is_nested_too_deeply_is_refused_at_once(text: str) -> None:
    error = error_of(text)
    assert "nested at most 50 levels" in error.problem


def test_what_is_nested_as_deeply_as_allowed_works() -> None:
    assert value_of("(" * 50 + "1" + ")" * 50) == 1
    assert value_of("format(" * 49 + "1" + ")" * 49) == "1"
    assert value_of("!" * 49 + "1") is False
    assert value_of("github" + ".x" * 49) is None
    assert value_of("1" + " && (1" * 49 + ")" * 49) == 1


def test_width_is_no_depth() -> None:
    assert value_of(" || ".join(["0"] * 4000)) == 0
    assert value_of(" && ".join(["1"] * 4000)) == 1


def test_an_expression_of_21000_characters_is_read_and_a_longer_one_is_not() -> None:
    assert value_of("'" + "x" * 20_998 + "'") == "x" * 20_998
    assert "at most 21,000 characters" in error_of("'" + "x" * 20_999 + "'").problem
    assert parse_template("x" * 30_000 + "${{ 1 }}").fill(SCOPE) == "x" * 30_000 + "1"
    with pytest.raises(ExpressionError, match="this one 21,001"):
        parse_template("${{" + " " * 21_001 + "}}")


def test_texts_that_would_grow_without_end_are_refused() -> None:
    scope = Scope({"env": {"X": "x" * 300_000}, "many": [0] * 400_000, "deep": _nested(100_000)}, {})
    for text in (
        "format('{0}{0}{0}{0}', env.X)",
        "join(many, ', ')",
        "toJSON(many)",
        "toJSON(deep)",
        "join(fromJSON('[1,2,3,4,5]'), env.X)",
    ):
        assert "longer than 1,048,576 characters" in error_of(text, scope).problem
    with pytest.raises(ExpressionError, match="longer than"):
        parse_template("${{ env.X }}" * 4).fill(scope)
    assert len(text_of(parse_template("${{ env.X }}" * 3).fill(scope))) == 900_000


def _nested(levels: int) -> Value:
    value: Value = 1
    for _ in range(levels):
        value = [value]
    return value


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    scope = Scope({"env": {"X": "[" * 100_000}}, {})
    assert "nested too deeply" in error_of("fromJSON(env.X)", scope).problem


@pytest.mark.parametrize(
    "text",
    ["1" * 1_000_000 + "x", "1" * 1_000_000, "0x" + "f" * 1_000_000, " " * 1_000_000 + "x", "1e" + "9" * 100_000],
)
def test_long_texts_are_compared_in_no_time(text: str) -> None:
    began = time.monotonic()
    value_of("env.X == 1 || contains(env.X, 'y') || env.X < 5", Scope({"env": {"X": text}}, {}))
    with pytest.raises(ExpressionError):
        value_of("fromJSON(format('[{0} y', env.X))", Scope({"env": {"X": text}}, {}))
    assert time.monotonic() - began < 10


# Properties

_FRAGMENTS = st.sampled_from(
    [*"()[].,*!=&'\"\x00\n é", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "''", "${{", "}}", "success()"]
    + ["github", "env.COUNT", "fruits", "name", "null", "true", "1", "-1", ".5", "0x", "1e9", "'a'", "'{0}'", "'[1]'"]
    + [f"{name}(" for name in ("contains", "format", "join", "toJSON", "fromJSON", "case", "nothing")]
)
_TEXTS = st.text() | st.lists(_FRAGMENTS).map("".join) | st.lists(_FRAGMENTS).map(" ".join)


def outcome_of(text: str, read: Callable[[str], Expression]) -> Value | ExpressionError:
    try:
        return read(text).evaluate(SCOPE)
    except ExpressionError as error:
        return error


@checked
@given(_TEXTS, st.sampled_from([parse, parse_condition]))
def test_whatever_the_text_is_the_answer_is_a_value_or_an_expression_error(
    text: str, read: Callable[[str], Expression]
) -> None:
    outcome = outcome_of(text, read)
    if isinstance(outcome, ExpressionError):
        assert outcome.text == text
        assert 0 <= outcome.offset <= len(text)
        assert str(outcome).startswith(outcome.problem)
    else:
        assert isinstance(text_of(outcome), str)
        assert truthy(outcome) in (True, False)


def filled_or_none(text: str) -> str | None:
    with contextlib.suppress(ExpressionError):
        return parse_template(text).fill(SCOPE)
    return None


@checked
@given(st.lists(_FRAGMENTS | st.just("${{ ") | st.just(" }}")).map("".join) | st.text())
def test_whatever_a_template_is_it_is_filled_or_refused(text: str) -> None:
    filled = filled_or_none(text)
    assert filled == text or "${{" in text


_NUMBERS = st.integers(-(10**14), 10**14) | st.floats(-1e6, 1e6).map(lambda number: round(number, 6))
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text()
_VALUES = st.recursive(_LEAVES, lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=30)


@checked
@given(_VALUES)
def test_a_value_written_as_json_is_read_back_the_same(value: Value) -> None:
    scope = Scope({"it": value}, {})
    assert value_of("fromJSON(toJSON(it))", scope) == value
    assert json.loads(text_of(value_of("toJSON(it)", scope))) == value


@checked
@given(_VALUES)
def test_json_is_indented_as_pythons_own_with_two_spaces(value: Value) -> None:
    def numbers_as_text(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: numbers_as_text(below) for key, below in part.items()}
        if isinstance(part, list):
            return [numbers_as_text(below) for below in part]
        return text_of(part) if isinstance(part, float) else part

    ours = text_of(value_of("toJSON(it)", Scope({"it": numbers_as_text(value)}, {})))
    pythons = json.dumps(numbers_as_text(value), indent=2, ensure_ascii=False)
    for character in "\x85\u2028\u2029":
        pythons = pythons.replace(character, f"\\u{ord(character):04x}")
    assert ours == pythons


@checked
@given(_NUMBERS)
def test_a_number_written_as_text_is_read_back_the_same(number: float) -> None:
    assert value_of(text_of(number)) == number
    assert value_of("it == text", Scope({"it": number, "text": text_of(number)}, {})) is True


@checked
@given(st.text(), st.text())
def test_a_quoted_text_is_that_text_and_equals_itself_in_capitals(text: str, other: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert value_of(quoted) == text
    assert parse_template("x${{ " + quoted + " }}y").fill(SCOPE) == f"x{text}y"
    scope = Scope({"a": text, "b": other}, {})
    assert [value_of(f"a {sign} b", scope) for sign in ("<", "==", ">")].count(True) == 1


@checked
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"))))
def test_format_puts_each_value_where_it_belongs(texts: list[str]) -> None:
    pattern = "|".join(f"{{{{{{{index}}}}}}}" for index in range(len(texts)))
    scope = Scope({"texts": list(texts), "pattern": pattern}, {})
    arguments = "".join(f", texts[{index}]" for index in range(len(texts)))
    assert value_of(f"format(pattern{arguments})", scope) == "|".join(f"{{{text}}}" for text in texts)
