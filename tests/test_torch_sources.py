"""Modules of PyTorch behind `torch:`: every command takes them, and what goes wrong is one error."""

import json
import os
import re
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.golden_files import check_golden

torch = pytest.importorskip("torch")

import archcalc  # noqa: E402  # the tests above need PyTorch
from archcalc import ArchcalcError, load  # noqa: E402
from archcalc.cli import cli  # noqa: E402

NETS = """
import sys
import warnings

import torch
from torch import nn

print("made")


class Net(nn.Module):
    def __init__(self, depth=2, width=8):
        super().__init__()
        sizes = [3] + [width] * depth
        self.layers = nn.Sequential(*[nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:])])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.pool(self.layers(x)).flatten(1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers, self.image = nn.Embedding(100, 16), nn.Linear(4, 16)

    def forward(self, image, ids):
        return self.image(image) + self.numbers(ids)[:, 0]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.a.weight = self.b.weight = nn.Parameter(torch.zeros(8, 8))

    def forward(self, x):
        return self.b(self.a(x))


class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Sequential(*[nn.Linear(2**14, 2**14) for _ in range(40)])  # 1 GiB each

    def forward(self, x):
        return self.weights(x)


class Looks(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > 1e9 else super().forward(-x)


class Warns(Net):
    def forward(self, x):
        warnings.warn("old")
        return super().forward(x)


class Own(Net):
    default_cfg = {"input_size": (3, 16, 16)}


class Misfit(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        return self.head(x)


class Leaves(Net):
    def forward(self, x):
        sys.exit("bye")


class NoTensor(Net):
    def forward(self, x):
        super().forward(x)
        return "done"


class Sorts(Net):
    def forward(self, x):
        return super().forward(x + torch.argsort(x.detach()))


def broken():
    raise ValueError("no such depth\\nsecond line")


def ends():
    sys.exit(3)


def deep():
    return deep()


def nothing():
    return {}


number = 3
ready = Net(1)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "wrong.py").write_text("class Net(\n")
    (tmp_path / "lacks.py").write_text("import no_such_thing\n")
    (tmp_path / "fake.pt2").write_text("no archive")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("nets", None)  # another test's


def run(*arguments):
    """What a command prints; its errors are raised."""
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    return result.stdout


NET = "torch:nets.py:Net@3x8x8"
PARAMS = (3 * 9 + 1) * 8 + (8 * 9 + 1) * 8 + 90


def test_a_class_is_made_and_recorded():
    graph = load(NET)
    assert (graph.name, graph.input) == ("Net", (3, 8, 8))
    assert archcalc.analyze(graph).totals.params == PARAMS
    assert [node.op.name for node in graph.nodes][:3] == ["input", "conv", "conv"]


def test_arguments_stand_in_the_source():
    assert archcalc.analyze(load("torch:nets.py:Net(1, width=4)@3x8x8")).totals.params == (27 + 1) * 4 + 50


def test_inputs_have_names_and_dtypes():
    graph = load("torch:nets.py:Two@image=4,ids=int64:12")
    assert [(node.name, node.output) for node in graph.inputs] == [("image", (4,)), ("ids", (12,))]


def test_a_module_that_is_there_is_taken_as_it_is():
    assert archcalc.analyze(load("torch:nets.py:ready@3x8x8")).totals.params == 28 * 8 + 90


def test_a_module_by_name_is_found_in_the_working_folder():
    assert load("torch:nets:Net@3x8x8").nodes == load(NET).nodes


def test_weights_take_no_memory_and_shared_ones_stay_one():
    assert archcalc.analyze(load("torch:nets.py:Large@16384")).totals.params == 40 * (2**28 + 2**14)
    assert archcalc.analyze(load("torch:nets.py:Tied@8")).totals.params == 64


def test_a_file_runs_once_for_several_sources():
    with open("nets.py", "a") as file:
        file.write("with open('runs', 'a') as file:\n    file.write('x')\n")
    run("compare", NET, "torch:nets.py:Net(3)@3x8x8")
    assert Path("runs").read_text() == "x"


def test_an_input_that_the_module_names_is_noted():
    graph = load("torch:nets.py:Own")
    assert graph.input == (3, 16, 16)
    assert graph.about.notes == ("input 3×16×16: from the module's own default_cfg",)
    assert load("torch:nets.py:Own", input=(3, 8, 8)).about.notes == ()


def test_code_that_looks_at_values_runs_when_asked_for():
    with pytest.raises(ArchcalcError, match="--run"):
        load("torch:nets.py:Looks@3x8x8")
    assert f"params       {PARAMS} = " in run("summarize", "torch:nets.py:Looks@3x8x8", "--run")
    with pytest.raises(ArchcalcError, match="--run"):  # the option holds for its command only
        load("torch:nets.py:Looks@3x8x8")


def test_its_warnings_are_no_errors_and_its_prints_are_no_results(capsys):
    with warnings.catch_warnings(record=True) as caught:
        load("torch:nets.py:Warns@3x8x8")
    assert "old" in {str(warning.message) for warning in caught} | set(re.findall("old", capsys.readouterr().err))
    data = json.loads(run("summarize", NET, "--format", "json"))
    assert data["totals"]["params"] == PARAMS


def test_python_takes_modules_too():
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    assert archcalc.analyze(archcalc.from_torch(module, (4,))).totals.params == 15


def test_a_program_of_torch_export(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "made.pt2")
    totals = archcalc.analyze(load("torch:made.pt2@3x8x8")).totals
    assert (totals.params, totals.macs) == (112 + 290, 36 * 108 + 288)


BAD = (
    "nets.py:Net", "nets.py:Nett@3x8x8", "nets.py:Net(deep=3)@3x8x8", "nets.py:Net@y=3x8x8", "nets.py:Net@1x8x8",
    "nets.py:Misfit@3x8x8", "nets.py:Leaves@3x8x8", "nets.py:NoTensor@3x8x8", "nets.py:broken", "nets.py:ends",
    "nets.py:deep", "nets.py:nothing", "nets.py:number", "nets.py:ready()@3x8x8", "none.py:Net", "./:Net", "none:Net",
    "none.at.all:Net", "wrong.py:Net", "lacks.py:Net", "none.pt2", "fake.pt2",
)  # fmt: skip


def test_what_goes_wrong_is_one_error():
    texts = []
    for text in BAD:
        with pytest.raises(ArchcalcError) as caught:
            load(f"torch:{text}")
        plain = re.sub(r"\(wrong.py, line \d+\)", "(wrong.py)", str(caught.value).replace(os.getcwd(), "FOLDER"))
        plain = re.sub(r"\[\d+, 8\]", "[ROWS, 8]", plain)  # of a batch
        assert "Traceback" not in plain
        texts.append(f"{plain}\n")
    check_golden("sources/wrong-torch.txt", "".join(texts))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["summarize", NET, "--depth", "1", "--mode", "train"], "layers"),
        (["summarize", NET, "--format", "latex"], "layers.0"),
        (["compare", NET, "torch:nets.py:Net(3)@3x8x8", "lenet5"], "Net(3)"),
        (["compare", NET, "torch:nets.py:Net(3)@3x8x8", "--by", "block"], "conv"),
        (["memory", NET, "--batch", "4"], "optimizer state"),
        (["fit", NET, "--memory", "1GiB"], "as asked"),
        (["fit", NET, "--memory", "1MiB", "--vary", "size"], "the largest images"),
        (["graph", NET], "flowchart"),
        (["check", NET], "1 network: Net"),
        (["show", NET], "3×8×8"),
        (["audit", NET], "0 published figures of 1 network"),
        (["export", NET, "--format", "pytorch"], "class Net("),
        (["export", NET, "--table", "list"], "Net"),
        (["validate", NET], "3 checks: 0 different"),
        (["validate", NET, "--source"], "0 different"),
        (["validate", NET, "--device", "cpu", "--memory"], "0 different"),
    ],
)
def test_every_command_takes_a_module(arguments, expected):
    assert expected in run(*arguments)


def test_pictures_take_modules():
    pytest.importorskip("matplotlib")
    run("plot", "profile", NET, "-o", "a.svg")
    run("plot", "compare", NET, "lenet5", "-o", "b.svg")
    assert Path("a.svg").exists()
    assert Path("b.svg").exists()


def test_validate_finds_what_the_graph_gets_wrong(monkeypatch):
    from archcalc.ops.convolution import Conv

    monkeypatch.setattr(Conv, "work", lambda self, x, y: {"mac": 1})
    assert "macs" in run("validate", NET)


def test_what_is_unknown_is_not_compared():
    text = run("validate", "torch:nets.py:Sorts@3x8x8")
    assert "0 different" in text
    assert "not compared, since archcalc has no rule: macs" in text


def test_validate_refuses_another_device():
    result = CliRunner().invoke(cli, ["validate", NET, "--device", "cpu"])
    assert "omit --device" in result.output
