"""Root: the folder that no path given by an agent may leave.

It keeps an agent from reaching elsewhere by mistake or by a crafted path. It is no sandbox: a script that runs can do
whatever its user may do.
"""

from __future__ import annotations

import os

from orchestrator.mcp_tools.refusals import Refused
from orchestrator.wording import visible


class Root:
    """A folder, its links resolved once."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raise NotADirectoryError, or FileNotFoundError, for what is no folder."""
        self.path = os.path.realpath(folder)
        with os.scandir(self.path):
            pass  # it is there, a folder, and can be read

    def inside(self, path: str, what: str) -> str:
        """Return the absolute path that is meant, its links resolved; relative ones start at the root.

        Nothing need be there. Raises Refused, with `what` the path was given as, for one that leads elsewhere, and
        when the root itself is gone.
        """
        self.check()
        if not path:
            raise Refused(f"{what} is empty: give a path relative to the root {visible(self.path)}")
        try:
            real = os.path.realpath(os.path.join(self.path, path))
        except ValueError as error:  # a NUL, or half of a surrogate pair
            raise Refused(f"{what}: {visible(path)} is no path: {error}") from error
        if not self.holds(real):
            raise Refused(
                f"{what}: {visible(path)} lies outside of the root {visible(self.path)}: this server uses only what is "
                "below it, links included"
            )
        return real

    def check(self) -> None:
        """Raise Refused when the folder was deleted, also when it was made anew: the server stands in the old one."""
        try:
            os.getcwd()
            gone = not os.path.isdir(self.path)
        except FileNotFoundError:
            gone = True
        if gone:
            raise Refused(f"the root {visible(self.path)} was deleted under this server: have it started again")

    def holds(self, path: str) -> bool:
        """Whether a path is the root or below it, once its links are resolved."""
        real = os.path.realpath(path)
        return real == self.path or real.startswith(os.path.join(self.path, ""))

    def shown(self, path: str) -> str:
        """Return a path as an agent reads it, and can give it back: relative to the root if it is below."""
        return visible(os.path.relpath(path, self.path) if self.holds(path) else path)
