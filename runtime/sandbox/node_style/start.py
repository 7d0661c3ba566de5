"""How does a Node-style process find our code, where it may read little else?

Executed by its path. Makes ``runtime`` importable from the folder that this file stands in, and hands over. The folder
above that may hold anything, from an installation's packages to its data, and the process cannot read it.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]


def find_house() -> None:
    """Let ``import runtime`` find our code, wherever it is installed."""
    spec = importlib.util.spec_from_file_location(
        "runtime", HOUSE / "__init__.py", submodule_search_locations=[str(HOUSE)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["runtime"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    find_house()
    runpy.run_module("runtime.sandbox.node_style.python_guest", run_name="__main__", alter_sys=True)
