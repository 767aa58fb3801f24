"""Which CI system is around us and what it is to be told: the option `--ci`, read with the environment at hand.

Light, because it is imported to declare the options of the command line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from orchestrator import settings

FEATURES = {
    "github": frozenset({"groups", "annotations", "summary"}),
    "gitlab": frozenset({"groups", "junit"}),
    "jenkins": frozenset({"junit"}),
    "off": frozenset[str](),
}
"""The systems, and what each is told. Jenkins folds by patterns of the reader's own: it gets nothing in its log."""

JUNIT_FILE = "orchestrator-junit.xml"
"""The report of a system that reads one, where `--junit` names no other."""

_ALL = ("annotations", "groups", "junit", "summary")


@dataclass(frozen=True, slots=True)
class Ci:
    """A system and what it is told. `asked` says that somebody named it: it was not found in the environment."""

    system: str = "off"
    features: frozenset[str] = frozenset()
    asked: bool = False

    @property
    def guards(self) -> bool:
        """Whether what tasks printed has to be kept from being read as commands: GitHub reads every line."""
        return self.system == "github" and bool(self.features & {"groups", "annotations"})


OFF = Ci()


def read_ci(text: str) -> Ci:
    """Read `--ci`: a system, `auto` or `off`, and after commas what it is not to be told.

    Raises ValueError for any other word.

    >>> sorted(read_ci("github,-summary").features)
    ['annotations', 'groups']
    """
    named, *without = text.split(",")
    unknown = [word for word in without if word[:1] != "-" or word[1:] not in _ALL]
    if named not in ("auto", *FEATURES) or unknown:
        raise ValueError(
            f"{text!r} says nothing about a CI system: write auto, github, gitlab, jenkins or off, and leave out what "
            f"you do not want: auto,-summary or github,-groups,-annotations (there are {', '.join(_ALL)})"
        )
    system = system_around() if named == "auto" else named
    features = FEATURES[system] - {word[1:] for word in without}
    return Ci(system, features, asked=named not in ("auto", "off"))


def system_around() -> str:
    """Return the CI system whose variables are set; "off" if none are, and inside of a task of ours.

    What a task prints is shown by the run outside, which makes the marks.
    """
    if settings.depth():
        return "off"
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    if os.environ.get("GITLAB_CI"):
        return "gitlab"
    if os.environ.get("JENKINS_URL") or os.environ.get("JENKINS_HOME"):
        return "jenkins"
    return "off"
