"""What all tests share: hypothesis' profile, and an environment with archcalc installed from its wheel."""

import gc
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from support.torch_warnings import lopsided_padding

ROOT = Path(__file__).parent.parent
os.environ.pop("COLUMNS", None)  # tables are as wide as a test says, whatever the terminal of whoever runs it
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # 150 processes would each compile the package
sys.dont_write_bytecode = False  # and each worker the tests
os.environ["OMP_NUM_THREADS"] = "1"  # small tensors gain nothing from threads, and workers share the cores

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


class WithoutTorch(MetaPathFinder):
    """Skip what imports PyTorch."""

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            pytest.skip("PyTorch is not installed", allow_module_level=True)


if find_spec("torch") is None:
    sys.meta_path.append(WithoutTorch())


def pytest_collection_modifyitems(items):
    """Start what takes longest first, and what needs `installed` in one piece: one worker makes it."""
    items.sort(key=lambda item: ("installed" not in item.fixturenames, item.get_closest_marker("slow") is None))


def pytest_collection_finish():
    """Exempt a million objects, the tests and what they import, from garbage collection: all live to the end."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 100)  # full collections are rarer: each module ends with one
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def what_a_module_keeps():
    """Exempt what a module leaves, too, such as the networks that `support.zoo` keeps."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The built wheel: what users install."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A clean virtual environment with the wheel and nothing else; `run(command, cwd)` runs there."""
    folder = tmp_path_factory.mktemp("installed")
    ours = find_spec("pip")
    without = ["--without-pip"] if ours else []
    subprocess.run([sys.executable, "-m", "venv", *without, folder / "venv"], check=True)
    if ours:  # a copy of our pip is there sooner than one that `venv` installs
        (packages,) = folder.glob("venv/lib/*/site-packages")
        shutil.copytree(Path(ours.origin).parent, packages / "pip")
    pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    keep = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ARCHCALC_PATH", "COLUMNS")}
    env = keep | {"PATH": f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}

    def run(command, cwd=folder):
        return subprocess.run(["bash", "-c", command], cwd=cwd, env=env, capture_output=True, text=True, check=False)

    return SimpleNamespace(run=run, folder=folder, files=zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def quiet_and_alone():
    """PyTorch warns of lopsided paddings."""
    with lopsided_padding():
        yield


@pytest.fixture
def main(monkeypatch, capsys):
    """Run a command as the installed program does. Returns its exit code, and what it prints to stdout and stderr."""
    from archcalc.cli import main as program

    def run(*arguments, text=""):
        monkeypatch.setattr(sys, "argv", ["archcalc", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        with pytest.raises(SystemExit) as stop:
            program()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def refused(main):
    """Run a command that is refused: it exits with 2 and prints no result. Returns what it says, on one line."""

    def run(*arguments):
        code, out, err = main(*arguments)
        assert (code, out) == (2, "")
        assert re.search("^error: ", err, re.MULTILINE)
        assert "Traceback" not in err
        return " ".join(err.split())

    return run
