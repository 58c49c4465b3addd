"""The programs in `bench`, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

BENCH = Path(__file__).parent.parent.parent / "bench"
sys.path.append(str(BENCH))  # where its files import each other from


def program(name: str) -> ModuleType:
    """Run a program's file as a module of its own, not as a program."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
