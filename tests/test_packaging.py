"""The artefact: the wheel has what it needs and works in a clean environment."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def test_the_wheel_carries_the_specs(installed):
    assert {"vgg.yaml", "vgg.published.yaml", "index.txt"} <= {
        name.removeprefix("archcalc/specs/") for name in installed.files
    }
    assert {"archcalc/specs/cs231n/inception.yaml", "archcalc/py.typed"} <= set(installed.files)
    assert not [name for name in installed.files if name.startswith(("tests/", "bench/", "specs/"))]


def test_the_page_to_explore_is_written_there(installed):
    done = installed.run("archcalc explore lenet5 -o -")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert "function drawGraph" in done.stdout
    assert ".canvas" in done.stdout


def test_it_runs_there(installed):
    done = installed.run("archcalc summarize vgg16 --format json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["params"] == 138_357_544


def test_it_brings_nothing_heavy(installed):
    listed = json.loads(installed.run("python -m pip list --format json --disable-pip-version-check").stdout)
    names = {package["name"].lower() for package in listed}
    assert names - {"pip", "setuptools"} == {
        "archcalc", "click", "rich", "tabulate", "pyyaml", "markdown-it-py", "mdurl", "pygments",
    }  # fmt: skip


def test_errors_name_the_installed_spec(installed):
    done = installed.run("archcalc summarize vgg16 --input 3x8x8")
    assert done.returncode == 2
    assert "vgg.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_complete_in_the_shell(installed):
    done = installed.run('_ARCHCALC_COMPLETE=bash_complete COMP_WORDS="archcalc summarize dense" COMP_CWORD=2 archcalc')
    assert "plain,densenet121" in done.stdout.splitlines()


@pytest.fixture
def checkout(tmp_path):
    """A copy of what git has, so that nothing a command writes lands here."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for path in (Path(name) for name in listed if (ROOT / name).is_file()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_make_demo_needs_python_alone(installed, checkout):
    done = installed.run("make --silent demo && .venv/bin/python -m pip list", checkout)
    assert "138,357,544" in done.stdout, done.stderr
    assert "torch" not in done.stdout
