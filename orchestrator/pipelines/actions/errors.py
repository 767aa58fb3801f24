"""What is wrong with an expression, and where: the one exception of this language.

Raised by everything that reads or evaluates an expression. What knows no place (a function, a context that refuses)
raises it without one; the part of the expression that called it adds its own.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 100


class ExpressionError(ValueError):
    """Tell what is wrong with an expression; the text of the error shows the line and the column, with a caret.

    `problem` is the sentence alone. `text` is all that was read, None while the place is not known yet.
    """

    def __init__(self, problem: str, text: str | None = None, offset: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.text = text
        self.offset = offset

    @property
    def line(self) -> int:
        """The line of the text that is meant, from 1."""
        return (self.text or "").count("\n", 0, self.offset) + 1

    @property
    def column(self) -> int:
        """The column in that line, in characters from 1."""
        return self.offset - (self.text or "").rfind("\n", 0, self.offset)

    def __str__(self) -> str:
        if self.text is None:
            return self.problem
        where = f"line {self.line}, column {self.column}" if "\n" in self.text.strip() else f"column {self.column}"
        line = (self.text.split("\n")[self.line - 1]).rstrip()
        first = max(0, min(self.column - 1 - _SHOWN // 2, len(line) - _SHOWN))
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[first : first + _SHOWN])
        return f"{self.problem} ({where})\n  {shown}\n  {' ' * (self.column - 1 - first)}^"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in what was read: the text, and the index of the character that is meant."""

    text: str
    offset: int

    def error(self, problem: str) -> ExpressionError:
        """Return the error that shows this place."""
        return ExpressionError(problem, self.text, self.offset)

    def add_to(self, error: ExpressionError) -> None:
        """Give an error this place, unless it has one."""
        if error.text is None:
            error.text, error.offset = self.text, self.offset
