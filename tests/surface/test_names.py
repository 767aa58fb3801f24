"""The public names, under both names of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

_IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""

_LOOK = """
import types
assert {"retry", "workflow", "run", "pipe", "config", "discovery"} - set(package.__all__) == {"config", "discovery"}
for home, names in package._HOMES.items():
    for name in names:
        value = getattr(package, name)
        assert value is getattr(importlib.import_module(f"orchestrator.{home}"), name), name
        assert not isinstance(value, types.ModuleType), name
homeless = set(package.__all__) ^ {name for names in package._HOMES.values() for name in names}
assert not homeless, homeless
exec(f"from {sys.argv[1]} import " + ", ".join(package.__all__))
exec(f"from {sys.argv[1]} import *")
print(len(package.__all__), retry.__module__, workflow.__module__)
"""


@pytest.mark.parametrize("package", ["orchestrator", "codomyrmex.orchestrator"])
@pytest.mark.parametrize("names_first", [False, True])
def test_no_submodule_takes_the_place_of_a_public_name(package: str, names_first: bool) -> None:
    """An imported submodule becomes an attribute of its package: `orchestrator.retry` must stay the function."""
    script = _IMPORT_ALL + _LOOK
    if names_first:
        script = "import orchestrator\nfor name in orchestrator.__all__: getattr(orchestrator, name)\n" + script
    root = Path(orchestrator.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script, package], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(orchestrator.__all__)), "orchestrator.thin", "orchestrator.steps"]


def test_the_public_names_are_listed_once_in_order_and_dir_knows_them() -> None:
    assert orchestrator.__all__ == sorted(set(orchestrator.__all__))
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    with pytest.raises(AttributeError, match="no_such_name"):
        orchestrator.no_such_name  # noqa: B018
