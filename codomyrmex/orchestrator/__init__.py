"""Another name for the package `orchestrator`: the same module object, not a copy of it.

`codomyrmex.orchestrator.x` is the module `orchestrator.x` for every submodule, at any depth, so
that a class has one identity under both names. Nothing is imported before it is asked for.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

import orchestrator

if TYPE_CHECKING:
    from orchestrator import *  # noqa: F403

_ALIAS = __name__ + "."


def _real_name(alias: str) -> str:
    return "orchestrator." + alias.removeprefix(_ALIAS)


class _SubmoduleAlias(MetaPathFinder, Loader):
    """Answer an import of `codomyrmex.orchestrator.x` with the module `orchestrator.x`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_ALIAS) or importlib.util.find_spec(_real_name(fullname)) is None:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_real_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module has already run, under its own name. The import system has since put the alias's
        # spec on it, whose name would contradict `__package__` and lead a reload astray: undo that.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


# First in line: the usual finder would follow the package's `__path__` and load a second copy.
sys.meta_path.insert(0, _SubmoduleAlias())
sys.modules[__name__] = orchestrator
