"""The expression language of GitHub Actions: what stands in `${{ }}` and after `if:`.

    text -> parse, parse_condition, parse_template -> Expression, Template -> evaluate, fill, value (in a Scope)

For whoever reads and runs workflow files. Parsing says all that can be said without running: syntax, unknown functions,
the number of arguments; `contexts` and `functions` tell what will be asked for. All that goes wrong is an
ExpressionError with its place. Nothing here has effects; what an expression may ask of the world is in its Scope.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.pipelines.actions.errors import ExpressionError, Place
from orchestrator.pipelines.actions.functions import FUNCTIONS, STATUS_FUNCTIONS, bounded
from orchestrator.pipelines.actions.parsing import parse_tree
from orchestrator.pipelines.actions.tree import Call, Choice, Node, Scope
from orchestrator.pipelines.actions.values import Value, text_of, truthy

__all__ = [
    "Expression",
    "ExpressionError",
    "Scope",
    "Template",
    "Value",
    "parse",
    "parse_condition",
    "parse_template",
    "text_of",
    "truthy",
]

_OPENS, _CLOSES = "${{", "}}"


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, parsed. `contexts` and `functions` are the names that it mentions, in small letters."""

    text: str
    tree: Node = field(repr=False)
    contexts: frozenset[str] = field(repr=False)
    functions: frozenset[str] = field(repr=False)

    def evaluate(self, scope: Scope) -> Value:
        """Return its value in a scope. Raises ExpressionError, and what the functions of the scope raise."""
        return self.tree.value(scope)


@dataclass(frozen=True, slots=True)
class Template:
    """A text with expressions in it; `parts` are texts and expressions as they follow each other."""

    text: str
    parts: tuple[str | Expression, ...] = field(repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether there is no expression in it."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def contexts(self) -> frozenset[str]:
        """The root contexts that its expressions mention, in small letters."""
        return frozenset().union(*(part.contexts for part in self.parts if isinstance(part, Expression)))

    @property
    def functions(self) -> frozenset[str]:
        """The functions that its expressions call, in small letters."""
        return frozenset().union(*(part.functions for part in self.parts if isinstance(part, Expression)))

    def fill(self, scope: Scope) -> str:
        """Return the text with the values of its expressions. Raises ExpressionError."""
        try:
            return bounded(part if isinstance(part, str) else text_of(part.evaluate(scope)) for part in self.parts)
        except ExpressionError as error:
            Place(self.text, 0).add_to(error)
            raise

    def value(self, scope: Scope) -> Value:
        """Return the value of the expression that is all of the text; the filled text if it is anything else."""
        match self.parts:
            case (Expression() as only,):
                return only.evaluate(scope)
            case _:
                return self.fill(scope)


def parse(text: str) -> Expression:
    """Parse an expression that has no `${{ }}` around it. Raises ExpressionError.

    >>> scope = Scope({"matrix": {"os": "Ubuntu", "jobs": [2, 4]}}, {})
    >>> parse("matrix.OS == 'ubuntu' && join(matrix.jobs, '+')").evaluate(scope)
    '2+4'
    """
    return _parse_part(text, 0, len(text))


def parse_condition(text: str) -> Expression:
    """Parse what stands after `if:`, with or without one `${{ }}` around all of it. Raises ExpressionError.

    Unless it calls a function that asks for the status, it means `success() && (...)`; empty, it means `success()`.

    >>> sorted(parse_condition("${{ env.CI }}").functions)
    ['success']
    """
    if not text.strip():
        return replace(parse("success()"), text=text)
    expression = _parse_bare_condition(text)
    if expression.functions & STATUS_FUNCTIONS:
        return expression
    # The limit of the depth is for what was written; this is one level more.
    success = Call(Place(text, 0), 1, FUNCTIONS["success"], ())
    tree = Choice(1 + expression.tree.depth, "&&", (success, expression.tree))
    return replace(expression, tree=tree, functions=expression.functions | {"success"})


def _parse_bare_condition(text: str) -> Expression:
    opens = text.find(_OPENS)
    if opens < 0:
        return _parse_part(text, 0, len(text))
    match [part for part in parse_template(text).parts if isinstance(part, Expression) or part.strip()]:
        case [Expression() as only]:
            return only
    raise ExpressionError(
        "only a part of this condition is in ${{ }}, so it is a text, which GitHub takes for true whatever it says; "
        "put the whole condition in one ${{ }}, or leave them off",
        text,
        opens,
    )


def parse_template(text: str) -> Template:
    """Parse a text that may have expressions in `${{ }}`; `}}` in a quoted string does not end one.

    Raises ExpressionError; its column is that in the whole text.

    >>> parse_template("v${{ format('{0}}}', 1 ) }}!").fill(Scope({}, {}))
    'v1}!'
    """
    parts: list[str | Expression] = []
    at = 0
    while (opens := text.find(_OPENS, at)) >= 0:
        if opens > at:
            parts.append(text[at:opens])
        start = opens + len(_OPENS)
        end = _closing(text, opens)
        parts.append(_parse_part(text, start, end))
        at = end + len(_CLOSES)
    if at < len(text):
        parts.append(text[at:])
    return Template(text, tuple(parts))


def _closing(text: str, opens: int) -> int:
    """Return where the `}}` is that belongs to the `${{` at `opens`."""
    at = opens + len(_OPENS)
    while True:
        end, quote = text.find(_CLOSES, at), text.find("'", at)
        if end >= 0 and not 0 <= quote < end:
            return end
        # An escaped quote, two in a row, ends a string and begins the next: no difference here.
        quote_end = text.find("'", quote + 1) if quote >= 0 else -1
        if quote_end < 0:
            hint = "" if quote < 0 else f"; the quote {quote - opens} characters after it is not closed either"
            raise ExpressionError(f"this {_OPENS!r} is never closed by a {_CLOSES!r}{hint}", text, opens)
        at = quote_end + 1


def _parse_part(text: str, start: int, end: int) -> Expression:
    parsed = parse_tree(text, start, end)
    return Expression(text[start:end].strip(), parsed.tree, parsed.contexts, parsed.functions)
