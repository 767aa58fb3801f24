"""From the text of an expression to its tree: tokens first, then one loop over the operators, by what binds tighter.

Called by expressions.py. Whatever the text is, the answer is a tree or an ExpressionError that shows the place. Time is
linear in the text; brackets in brackets and trees are limited to tree.DEEPEST levels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, cast

from orchestrator.pipelines.actions.errors import ExpressionError, Place
from orchestrator.pipelines.actions.functions import FUNCTIONS, Function
from orchestrator.pipelines.actions.tree import (
    DEEPEST,
    Call,
    Case,
    Choice,
    Comparing,
    Comparison,
    Constant,
    Context,
    Filter,
    Index,
    Node,
    Not,
)
from orchestrator.pipelines.actions.values import number_of

LONGEST = 21_000
"""Characters of one expression (GitHub's own limit)."""

_Kind = Literal["number", "string", "name", "mark", "end"]

_TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^']++|'')*+')
    |(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
    |(?P<number>[-+0-9][^\s()\[\],!<>=&|'"]*)
    |(?P<mark>&&|\|\||[=!<>]=|[!<>()\[\].,*])""",
    re.VERBOSE,
)
_FRACTION = re.compile(r"\.[0-9][^\s()\[\],!<>=&|'\"]*")
_LITERALS = {"null": None, "true": True, "false": False, "NaN": math.nan, "Infinity": math.inf}
_NO_ARITHMETIC = "there is no arithmetic in this language"
_HINTS = {
    '"': "text stands in single quotes",
    "=": "to compare, write '=='",
    "&": "write '&&'",
    "|": "write '||'",
    "$": "'${{' stands around a whole expression, not in one",
    "/": _NO_ARITHMETIC,
    "%": _NO_ARITHMETIC,
}
_BINDS = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree, and what it mentions: root contexts and functions, in small letters."""

    tree: Node
    contexts: frozenset[str]
    functions: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str
    offset: int


def parse_tree(text: str, start: int, end: int) -> Parsed:
    """Parse the part of a text from `start` to `end`; errors show their place in all of the text."""
    if end - start > LONGEST:
        raise ExpressionError(
            f"an expression has at most {LONGEST:,} characters, this one {end - start:,}", text, start
        )
    return _Parser(text, start, end).parse()


def _tokens(text: str, start: int, end: int) -> Iterator[_Token]:
    last = "("
    at = start
    while at < end:
        # A dot begins a number only where a value can begin: `a.5` is no fraction.
        fraction = _FRACTION.match(text, at, end) if last in _BEFORE_A_VALUE else None
        match = fraction or _TOKENS.match(text, at, end)
        if match is None:
            raise _unexpected_character(text, at)
        kind = cast("_Kind", "number" if fraction else match.lastgroup)
        at = match.end()
        if match.lastgroup != "space" or fraction:
            last = match[0]
            yield _Token(kind, match[0], match.start())
    yield _Token("end", "", end)


_BEFORE_A_VALUE = {"(", "[", ",", "!", *_BINDS}


def _unexpected_character(text: str, at: int) -> ExpressionError:
    if text[at] == "'":
        return ExpressionError("this quote is never closed", text, at)
    hint = _HINTS.get(text[at], "")
    return ExpressionError(f"unexpected {text[at]!r}" + (f"; {hint}" if hint else ""), text, at)


class _Parser:
    """Reads the tokens of one expression, with a look at the next one."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._tokens = _tokens(text, start, end)
        self._next = next(self._tokens)
        self._nested = 0
        self._contexts: set[str] = set()
        self._functions: set[str] = set()

    def parse(self) -> Parsed:
        if self._ended():
            raise self._place(self._next).error("an expression is missing")
        tree = self._expression()
        if not self._ended():
            raise self._unexpected()
        return Parsed(tree, frozenset(self._contexts), frozenset(self._functions))

    def _expression(self, floor: int = 0) -> Node:
        """Read an expression whose operators all bind tighter than `floor`."""
        left = self._operand()
        while (binds := self._binding()) > floor:
            operator = self._take()
            operands = [left, self._expression(binds)]
            if operator.text in ("&&", "||"):
                while self._at(operator.text):
                    self._take()
                    operands.append(self._expression(binds))
                choosing = cast('Literal["&&", "||"]', operator.text)
                left = Choice(self._above(operator, *operands), choosing, tuple(operands))
            else:
                left = Comparison(self._above(operator, *operands), cast(Comparing, operator.text), *operands)
        return left

    def _binding(self) -> int:
        return _BINDS.get(self._next.text, 0) if self._next.kind == "mark" else 0

    def _operand(self) -> Node:
        nots = []
        while self._at("!"):
            nots.append(self._take())
        node = self._value()
        for token in reversed(nots):
            node = Not(self._above(token, node), node)
        return node

    def _value(self) -> Node:
        token = self._take()
        if token.kind == "string":
            return Constant(token.text[1:-1].replace("''", "'"))
        if token.kind == "number":
            return self._number(token)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(" and token.kind == "mark":
            node = self._inside(token)
            self._close(token, ")")
            return self._indexed(node)
        raise self._unexpected(token)

    def _number(self, token: _Token) -> Node:
        number = number_of(token.text)
        if math.isnan(number):
            raise self._place(token).error(f"{token.text!r} is no number; {_NO_ARITHMETIC}")
        return Constant(number)

    def _named(self, token: _Token) -> Node:
        if self._at("("):
            return self._indexed(self._call(token))
        if token.text in _LITERALS:
            return Constant(_LITERALS[token.text])
        self._contexts.add(token.text.lower())
        return self._indexed(Context(self._place(token), token.text))

    def _call(self, token: _Token) -> Node:
        function = self._function(token)
        bracket = self._take()
        arguments: list[Node] = []
        while not self._at(")"):
            if arguments:
                self._close(bracket, ",")
            arguments.append(self._inside(bracket))
        self._take()
        try:
            function.check(len(arguments))
        except ExpressionError as error:
            self._place(token).add_to(error)
            raise
        place, depth = self._place(token), self._above(token, *arguments)
        if function.name == "case":
            return Case(place, depth, tuple(arguments))
        return Call(place, depth, function, tuple(arguments))

    def _function(self, token: _Token) -> Function:
        name = token.text.lower()
        if name not in FUNCTIONS:
            near = get_close_matches(name, FUNCTIONS, 1)
            known = ", ".join(function.name for function in FUNCTIONS.values())
            hint = f"did you mean {FUNCTIONS[near[0]].name!r}?" if near else f"there are {known}"
            raise self._place(token).error(f"unknown function {token.text!r}; {hint}")
        self._functions.add(name)
        return FUNCTIONS[name]

    def _indexed(self, node: Node) -> Node:
        """Read what may follow a value that is no literal: `.name`, `.*`, `[...]`."""
        while True:
            if self._at("."):
                self._take()
                node = self._property(node)
            elif self._at("["):
                bracket = self._take()
                if self._at("*"):
                    node = Filter(self._above(self._take(), node), node)
                else:
                    which = self._inside(bracket)
                    node = Index(self._above(bracket, node, which), node, which)
                self._close(bracket, "]")
            else:
                return node

    def _property(self, node: Node) -> Node:
        token = self._take()
        depth = self._above(token, node)
        if token.kind == "name":
            return Index(depth, node, Constant(token.text))
        if token.text == "*":
            return Filter(depth, node)
        raise self._unexpected(token, "after a dot there is a name or '*'; any other key stands in ['...']")

    def _inside(self, bracket: _Token) -> Node:
        """Read an expression in brackets."""
        self._nested += 1
        if self._nested > DEEPEST:
            raise self._too_deep(bracket)
        node = self._expression()
        self._nested -= 1
        return node

    def _close(self, bracket: _Token, mark: str) -> None:
        """Read what has to come after an expression in brackets."""
        if self._ended():
            raise self._place(bracket).error(f"this {bracket.text!r} is never closed")
        if not self._at(mark):
            raise self._unexpected()
        self._take()

    def _above(self, token: _Token, *below: Node) -> int:
        """Return the depth of a node that has these below it."""
        depth = 1 + max((node.depth for node in below), default=0)
        if depth > DEEPEST:
            raise self._too_deep(token)
        return depth

    def _at(self, mark: str) -> bool:
        return self._next.kind == "mark" and self._next.text == mark

    def _ended(self) -> bool:
        return self._next.kind == "end"

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, token)
        return token

    def _place(self, token: _Token) -> Place:
        return Place(self._text, token.offset)

    def _unexpected(self, token: _Token | None = None, hint: str = "") -> ExpressionError:
        found = token or self._next
        if found.text.startswith(("+", "-", "*")):
            hint = hint or _NO_ARITHMETIC
        problem = "the expression ends too early" if found.kind == "end" else f"unexpected {found.text!r}"
        return self._place(found).error(f"{problem}; {hint}" if hint else problem)

    def _too_deep(self, token: _Token) -> ExpressionError:
        return self._place(token).error(f"an expression is nested at most {DEEPEST} levels deep")
