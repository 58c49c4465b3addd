"""What pyproject.toml claims: the tests' imports are named in it, and the lowest versions are those that are tested."""

import ast
import re
import sys
from pathlib import Path

import pytest

from archcalc import __version__

ROOT = Path(__file__).parent.parent
PACKAGES = {"yaml": "PyYAML", "markdown_it": "markdown-it-py"}  # where the name is not the module's
OTHERS = {"pyparsing"}  # pinned for the sake of one that is claimed
TYPES = {"typing_extensions"}  # for the type check alone


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(project, extra):
    """Name and lowest version of each package that an extra brings."""
    found = {}
    for text in [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]:
        own = re.fullmatch(r"archcalc\[(.*)\]", text)
        for other in own[1].split(",") if own else []:
            found |= requirements(project, other)
        if not own:
            name, version = re.fullmatch(r"([\w-]+)>=([\d.]+)", text).groups()
            found[name] = version
    return found


def imported(path):
    """Modules of others that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    own = {"archcalc", *(path.stem for folder in ("tests", "bench") for path in (ROOT / folder).iterdir())}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - own


def test_what_the_tests_import_is_named_in_the_extra(project):
    claimed = requirements(project, "test")
    assert {"numpy", "torch", "markdown_it", "docutils"} <= imported_by_tests()
    assert {PACKAGES.get(name, name) for name in imported_by_tests()} <= claimed.keys()


def imported_by_tests():
    return {name for path in (ROOT / "tests").rglob("*.py") for name in imported(path)}


def test_what_the_package_imports_is_named(project):
    claimed = {name for extra in ("dask", "onnx", "pandas", "plot", "torch") for name in requirements(project, extra)}
    found = {name for path in (ROOT / "archcalc").rglob("*.py") for name in imported(path)}
    assert {PACKAGES.get(name, name) for name in found - TYPES} <= claimed


def padded(version):
    return ".".join([*version.split("."), "0", "0"][:3])


def test_the_lowest_versions_claimed_are_those_tested(project):
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)", "\n".join(lines), re.MULTILINE))
    claimed = requirements(project, "test")
    assert {name: padded(pin) for name, pin in pins.items() if name not in OTHERS} == {
        name: padded(version) for name, version in claimed.items()
    }


def test_the_changelog_has_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)$", text, re.MULTILINE)


def test_the_classifiers_begin_at_the_lowest_python(project):
    minors = re.findall(r"Python :: 3\.(\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">=3.{minors[0]}"
