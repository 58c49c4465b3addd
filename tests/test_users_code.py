"""Code of a user that `torch:` sources run: how often, with which values, and in how much memory."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import archcalc
from archcalc.catalog import load
from archcalc.cli import cli
from archcalc.errors import ArchcalcError
from archcalc.importers.torch import on_meta

NETS = """
import warnings
import numpy
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, rows=8):
        super().__init__()
        self.fc = nn.Linear(8, rows)

    def forward(self, x):
        return self.fc(x)

class Noisy(Net):
    def forward(self, x):
        print("runs")
        warnings.warn("look out")
        return super().forward(x)

class Looks(Net):
    def forward(self, x):
        return super().forward(x * 2 if x.sum() > self.fc.weight.sum() else x)

class LooksAtTable(Net):
    def __init__(self):
        super().__init__(len(torch.ones(numpy.int64(4), 100).sum(1).tolist()))

class Asserts(Net):
    def forward(self, x):
        assert x.shape[0] == 77

class Broken(Net):
    def __init__(self):
        assert False

class Sparse(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.eye(8).to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.table, self.fc(x).t()).t()

class TwoLines(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.add_module("a\\nb", nn.Linear(8, 2))
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a source's folder goes on it
    (tmp_path / "nets.py").write_text(NETS)


def run(*arguments):
    return CliRunner().invoke(cli, arguments)


def test_a_forward_prints_and_warns_once(recwarn):
    result = run("validate", "torch:nets.py:Noisy@8", "--format", "json")
    assert json.loads(result.stdout)
    assert result.stderr.count("runs") == 1
    recwarn.clear()
    result = run("summarize", "torch:nets.py:Noisy@8")
    assert result.stderr.count("runs") == 1
    assert [str(warning.message) for warning in recwarn] == ["look out"]


def test_a_run_on_real_tensors_is_noted_and_the_same_each_time():
    first, again = (run("summarize", "torch:nets.py:Looks@8", "--run").output for _ in range(2))
    assert "the branch that these values chose" in first
    assert first == again
    assert "chose" not in run("summarize", "torch:nets.py:Net@8").output


def test_validate_runs_on_real_tensors_too():
    assert "3 checks: 0 different" in run("validate", "torch:nets.py:Looks@8", "--run").output
    assert "omit --device" in run("validate", "torch:nets.py:Looks@8", "--run", "--device", "cpu").output


@pytest.mark.parametrize("arguments", [("summarize", "lenet5"), ("check", "x.yaml"), ("compare", "lenet5", "vgg16")])
def test_run_needs_a_module(arguments):
    assert "--run is for torch: sources" in run(*arguments, "--run").output


def test_one_module_among_the_networks_is_enough():
    assert run("compare", "lenet5", "torch:nets.py:Looks@8", "--run").exit_code == 0


def test_a_large_layer_takes_no_memory():
    assert archcalc.analyze(load("torch:nets.py:Net(10_000_000_000)@8")).totals.weights == 8 * 10**10


def test_a_constructor_may_look_at_a_large_table(monkeypatch):
    monkeypatch.setattr(on_meta, "LARGE", 100)
    assert archcalc.analyze(load("torch:nets.py:LooksAtTable@8")).totals.params == 36


@pytest.mark.parametrize("name", ["Asserts", "Broken"])
def test_an_assert_without_a_text_is_named_once(name):
    with pytest.raises(ArchcalcError) as caught:
        load(f"torch:nets.py:{name}@8")
    assert str(caught.value).partition("\n")[0].endswith(": AssertionError")


def test_a_sparse_tensor_is_named():
    with pytest.raises(ArchcalcError, match="a tensor is sparse_coo; only dense ones"):
        load("torch:nets.py:Sparse@8")


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "html", "latex"])
def test_a_name_stays_on_one_line(form):
    lines = run("summarize", "torch:nets.py:TwoLines@8", "--format", form).output.splitlines()
    assert [line for line in lines if "linear" in line and "b" in line.partition("linear")[0]]
    assert load("torch:nets.py:TwoLines@8").nodes[1].name == "a\\nb"


def test_a_file_that_grows_when_it_is_read_is_refused(tmp_path):
    with zipfile.ZipFile("bomb.pt2", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data", bytes(10**6))
    with pytest.raises(ArchcalcError, match="not a file that"):
        load("torch:bomb.pt2@8")


def test_programs_load_without_warnings(recwarn):
    torch.export.save(torch.export.export(torch.nn.Linear(8, 2), (torch.zeros(2, 8),)), "net.pt2")
    recwarn.clear()
    with pytest.raises(ArchcalcError):  # of a batch of 2 only
        load("torch:net.pt2@8")
    assert not recwarn.list


@pytest.mark.parametrize("command", ["check", "show", "audit"])
def test_commands_without_figures_take_an_input(command):
    assert run(command, "torch:nets.py:Net", "--input", "8").exit_code == 0
    result = run(command, "torch:nets.py:Net")
    assert "which sizes" in f"{result.output}{result.exception}"


def test_show_has_no_row_without_a_value():
    assert "family" not in run("show", "torch:nets.py:Net@8").output


def test_check_sets_params():
    Path("a.yaml").write_text("name: a\ninput: [3, 8, 8]\nparams: {n: 2}\nlayers:\n  - conv(8, n)\n")
    assert run("check", "a.yaml").exit_code == 0
    assert "kernel" in run("check", "a.yaml", "--set", "n=9").output
