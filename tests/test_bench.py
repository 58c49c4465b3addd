"""The benches: what can be tested of them without a GPU, and without torchvision."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from support.programs import BENCH
from support.programs import program as bench
from support.torch_seed import seed_torch
from torch import nn

from archcalc import analyze, load, parse
from archcalc.analysis.measured import PhaseMemory
from archcalc.analysis.recipe import Recipe
from archcalc.pytorch.training_memory import Loop


@pytest.fixture(scope="module")
def weights():
    return bench("torchvision_weights")


@pytest.fixture(scope="module")
def gpu():
    return bench("gpu")


# torchvision_weights.py

SPEC = """
name: toy
input: [3, 8, 8]
layers:
  - conv1: conv(4, 3, padding=1, bias=False) | batchnorm | relu
  - side: {first: global_avgpool | flatten | linear(5)}
  - conv2: conv(4, 3, padding=1, bias=False) | batchnorm | relu
  - side: {second: global_avgpool | flatten | linear(5)}
  - flatten
  - linear: linear(5)
"""
ToyOutputs = namedtuple("ToyOutputs", ["logits", "aux_logits2", "aux_logits1"])  # GoogLeNet's order


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


class Toy(nn.Module):
    """As torchvision's GoogLeNet: heads run between the layers, and are defined elsewhere."""

    def __init__(self):
        super().__init__()
        self.aux2, self.aux1 = Head(), Head()
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 8 * 8, 5)

    def forward(self, image):
        x = self.bn1(self.conv1(image)).relu()
        first = self.aux1(x) if self.training else None
        x = self.bn2(self.conv2(x)).relu()
        second = self.aux2(x) if self.training else None
        x = self.fc(x.flatten(1))
        return ToyOutputs(x, second, first) if self.training else x


def test_weights_go_by_running_order(weights):
    seed_torch(1)
    made = weights.compare(Toy(), parse(SPEC))
    assert (made.layers, made.outputs, made.verdict) == (7, 3, "equal")
    assert made.difference < 1e-6
    assert str(made).startswith("  7 layers  3 outputs  difference ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bias=False) | batchnorm | relu\n  - side: {first", "bias=False) | batchnorm\n  - side: {first"),
        ("batchnorm", "batchnorm(eps=0.1)"),
        ("first: global_avgpool", "first: global_maxpool"),
        ("second: global_avgpool", "second: global_maxpool"),
    ],
)
def test_another_network_is_different(weights, old, new):
    seed_torch(2)
    made = weights.compare(Toy(), parse(SPEC.replace(old, new)))
    assert made.verdict.startswith("DIFFERENT")
    assert made.difference > 1e-3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conv2: conv(4, 3, padding=1,", "conv2: conv(4, 5, padding=2,", r"conv2 has .*3, 3.*our conv2.conv .*5, 5"),
        ("bias=False) | batchnorm", "bias=True) | batchnorm", r"conv1 has \{'weight'.*, our conv1.conv .*'bias'"),
        ("conv2: conv(4, 3, padding=1, bias=False) | batchnorm | relu", "conv2: identity", "bn2|conv2 has"),
        ("  - linear: linear(5)", "  - linear: linear(5) | linear(5)", "7 layers have weights, 8 of ours"),
        ("  - linear: linear(5)", "  - linear: identity", "7 layers have weights, 6 of ours"),
    ],
)
def test_layers_that_do_not_match_are_named(weights, old, new, message):
    with pytest.raises(ValueError, match=message):
        weights.compare(Toy(), parse(SPEC.replace(old, new)))


def test_a_layer_that_never_runs_is_named(weights):
    toy = Toy()
    toy.spare = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="do not run: spare"):
        weights.compare(toy, parse(SPEC))


@pytest.mark.parametrize(
    ("difference", "scale", "spread", "verdict"),
    [
        (0.0, 1.0, 1.0, "equal"),
        (1e-4, 1.0, 1.0, "equal"),
        (2e-4, 1.0, 1.0, "DIFFERENT: above 1.0e-04"),
        (2e-4, 10.0, 1.0, "DIFFERENT: above 1.0e-04"),
        (float("nan"), 1.0, 1.0, "DIFFERENT: above 1.0e-04"),
        (0.0, 1.0, 1e-3, "PROVES NOTHING: the outputs hardly depend on the image"),
    ],
)
def test_verdicts(weights, difference, scale, spread, verdict):
    assert weights.Comparison(1, 1, difference, scale, spread).verdict == verdict


def test_outputs_of_another_shape_do_not_match(weights):
    with pytest.raises(ValueError, match="outputs"):
        weights.compared(1, [torch.rand(2, 5)], [torch.rand(2, 1)])


def test_without_torchvision_it_says_what_to_install(weights, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)  # another test may have it loaded
    assert weights.main([]) == 2
    assert "pip install -e '.[bench]'" in capsys.readouterr().err


needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is only in the extra `bench`"
)


@needs_torchvision
def test_torchvisions_own(weights, capsys):
    assert weights.main(["squeezenet1_1"]) == 0
    assert "26 layers  1 output " in capsys.readouterr().out


@needs_torchvision
def test_an_unknown_network_is_reported(weights, capsys):
    assert weights.main(["resnet5"]) == 2
    assert "resnet5; known: alexnet" in capsys.readouterr().err


# by_hand.py


def test_a_phase_that_needs_more_than_predicted_is_wrong(monkeypatch):
    by_hand = bench("by_hand")
    case = by_hand.Case("squeezenet1_1", 96, "sgd")
    peaks = [(of.phase, of.step, of.peak, of.end) for of in by_hand.simulate(case.graph, case.recipe).peaks(2)]
    text, wrong = by_hand.row(case, peaks)
    assert (text, wrong) == ("| squeezenet1_1 | 2 of 96×96 | sgd | 10 | 10 | 0 | 102,392 |", False)
    phase, step, peak, end = peaks[1]
    assert by_hand.row(case, [peaks[0], (phase, step, peak + 1, end), *peaks[2:]])[1]
    assert by_hand.row(case, [peaks[0], (phase, step, peak, end - 1), *peaks[2:]])[1]
    text, wrong = by_hand.row(case, [peaks[0], (phase, step, peak - 1, end), *peaks[2:]])
    assert ("| 9 | 1 (0.00%, inference) |" in text, wrong) == (True, False)


# startup.py


def test_each_checkout_runs_its_own_code(tmp_path):
    startup = bench("startup")
    (tmp_path / "archcalc").mkdir()
    (tmp_path / "archcalc" / "__init__.py").write_text("raise SystemExit(3)")
    for command in (startup.COMMANDS["--version"].command, startup.COMMANDS["import archcalc"].command):
        assert startup.cpu_time(command, startup.HERE) > 0
        with pytest.raises(SystemExit, match="failed"):
            startup.cpu_time(command, tmp_path)


# peers.py


@pytest.fixture(scope="module")
def peers():
    return bench("peers")


OURS = {"process": 100.0, "first": 5.0, "again": 1.0, "memory": 25.0, "layers": 23}
TOOL = {
    "process": 2000.0,
    "torchvision": 900.0,
    "build": 20.0,
    "first": 9.0,
    "again": 8.0,
    "memory": 300.0,
    "figure": 1,
}


def test_a_row_has_ratios_and_what_is_apart(peers):
    cells = peers.row("torch", TOOL, OURS).split()
    assert cells == ["torch", "2000.0", "20.0×", "11.0×", "29.0", "5.8×", "28.0", "28.0×", "300.0", "12.0×"]
    assert peers.row("flax", {"error": "no such network"}, OURS).split(None, 1) == ["flax", "fails: no such network"]


def test_what_is_below_a_limit_is_named(peers):
    assert peers.missed("alexnet", {"archcalc": OURS, "torch": TOOL, "flax": {"error": "no such network"}}) == []
    slow = {"archcalc": OURS, "torch": {**TOOL, "process": 990.0, "memory": 200.0, "again": -15.0}}
    lines = ["fastest 9.9×, limit 10×", "median 9.9×, limit 20×", "leaner 8.0×, limit 10×", "in process 5.0×, limit 8×"]
    assert peers.missed("alexnet", slow) == [f"alexnet: {line}" for line in lines]
    assert peers.missed("resnet50", {"archcalc": {**OURS, "layers": 188}, "torch": TOOL}) == [
        "resnet50: in process 28.0×, limit 30×"
    ]
    assert peers.missed("alexnet", {"archcalc": OURS, "torch": {"error": ""}}) == ["alexnet: no tool could be measured"]


def test_memory_below_that_of_the_measuring_process_is_no_measurement(peers, monkeypatch):
    monkeypatch.setattr(peers, "usage", lambda *_: SimpleNamespace(ru_maxrss=1))
    with pytest.raises(SystemExit, match="more memory than what it measures"):
        peers.ours("alexnet")


def test_medians_and_the_first_error(peers):
    runs = [{"again": time, "figure": 7} for time in (3.0, 1.0, 2.0)]
    assert peers.medians(runs) == {"again": 2.0, "figure": 7}
    assert peers.medians([*runs, {"error": "stopped"}]) == {"error": "stopped"}


def test_the_record_has_every_network_and_tool(peers):
    record = json.loads((BENCH / "records" / "peers.json").read_text())
    assert record["rounds"] >= 5
    assert tuple(record["networks"]) == peers.NETWORKS
    for name, found in record["networks"].items():
        assert {*found} == {"archcalc", *peers.NAMES}
        measured = {peer for peer, costs in found.items() if "error" not in costs}
        assert {*found} - measured <= {"flax"}
        counted = {peer: round(found[peer]["figure"] / 1e9, 1) for peer in ("torchinfo", "archcalc, of the module")}
        macs = round(analyze(load(f"torchvision/{name}")).totals.macs / 1e9, 1)
        assert counted["archcalc, of the module"] == macs
        assert name == "vit_b_16" or counted["torchinfo"] == macs  # it does not count attention


def test_a_tool_that_is_missing_is_a_row_that_says_so(peers):
    assert peers.theirs("no such tool", "alexnet", [])["error"].startswith("KeyError")


# memory.py


@pytest.fixture
def memory():
    return bench("memory")


def test_phases_that_differ_are_counted(memory, monkeypatch):
    state = PhaseMemory("state", 0, {"end": 1}, {"end": 1}, {"end": 0})
    forward = PhaseMemory("forward", 1, {"peak": 5, "end": 4}, {"peak": 7, "end": 3}, {"peak": 0, "end": 0}, 9)
    monkeypatch.setattr(memory, "compare_memory", lambda *_: [state, forward])
    row = memory.Row("toy").after(parse(SPEC), memory.SHOWN, 2)
    assert row == memory.Row("toy", phases=2, differing=1, largest=2, in_kernels=9, peak=7)
    assert row.after(parse(SPEC), memory.Recipe(), 2)[1:] == (4, 2, 2, 9, 7)


def test_a_record_has_a_row_per_network_and_recipe(memory, monkeypatch, tmp_path, capsys):
    other = "Nesterov"
    done = [
        (memory.Task("lenet5"), memory.Row("lenet5", 180)),
        (memory.Task("lenet5", other), memory.Row("lenet5", 22)),
    ]
    monkeypatch.setattr(memory, "of_networks", lambda names, jobs: iter(done))
    path = tmp_path / "record.json"
    assert memory.main(["lenet5", "--record", str(path)]) == 0
    record = json.loads(path.read_text())
    assert [(row["network"], row["sides"], row["phases"]) for row in record["networks"]] == [("lenet5", [32, 36], 180)]
    assert record["recipes"] == [{"recipe": other, "phases": 22, "differing": 0, "largest": 0}]
    done.append((memory.Task("alexnet"), memory.Row("alexnet", 180, 1, 4)))
    assert memory.main([]) == 1
    assert capsys.readouterr().out.endswith("382 phases, 1 differ\n")


# gpu.py


def run(*arguments):
    command = [sys.executable, BENCH / "gpu.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_record(tmp_path):
    out = tmp_path / "deep" / "records"
    done = run("--device", "cpu", "--networks", "lenet5", "--out", out)
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    record = json.loads(path.read_text())
    assert path.name == f"cpu-{torch.__version__}-{record['date']}.json"
    assert (record["complete"], record["device"], record["torch"]) == (True, "cpu", torch.__version__)
    assert {"schema", "cuda", "cudnn", "archcalc", "environment"} <= record.keys()
    (network,) = record["networks"]
    assert (network["network"], network["differences"], network["by_figure"]) == ("lenet5", 0, {})
    assert network["checks"] > 50


@pytest.mark.skipif(torch.cuda.is_available(), reason="it says so only where there is none")
def test_without_cuda_it_says_so(gpu, capsys):
    assert gpu.main([]) == 2
    assert capsys.readouterr().err == "no CUDA device is available; use --device cpu\n"


def test_a_wrong_name_is_reported_before_anything_runs(gpu, tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--networks", "lenet5", "lenet6", "--out", str(tmp_path)]) == 2
    assert "did you mean lenet5" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_phases_train():
    """Weights change, momentum is kept, gradients go; a network with heads takes their losses too."""
    loop = Loop(parse(SPEC), Recipe("momentum"), 4)
    loop.state()
    before = [parameter.clone() for parameter in loop.network.parameters()]
    loop.infer()
    assert loop.network.training
    loop.forward()
    loop.backward()
    assert all(parameter.grad is not None for parameter in loop.network.parameters())
    loop.optimize()
    assert all(parameter.grad is None for parameter in loop.network.parameters())
    assert len(loop.optimizer.state) == len(before)
    assert all((old != new).any() for old, new in zip(before, loop.network.parameters(), strict=True))


def test_what_goes_wrong_with_a_network_is_kept(gpu, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(sys.modules["archcalc.pytorch.validation"], "validate", fails)
    made = gpu.validation("lenet5", "cpu", 2, "float32")
    assert made["problem"].startswith("out of memory; the estimate was ")
    assert gpu.validation_line(made | {"seconds": 0.0}) == f"0 checks, 0 different, 0.0 s; {made['problem']}"


def test_differences_are_counted_and_the_first_listed(gpu, monkeypatch):
    real = gpu.validate_or_say

    def altered(*arguments):
        made = real(*arguments)
        return made._replace(checks=tuple(check._replace(measured=-1) for check in made.checks))

    monkeypatch.setattr(gpu, "validate_or_say", altered)
    made = gpu.validation("lenet5", "meta", 2, "float32")
    assert made["differences"] == made["checks"] == sum(made["by_figure"].values())
    assert len(made["first"]) == gpu.LISTED
    assert made["first"][0]["measured"] == -1
    assert "; first " in gpu.validation_line(made)


def test_the_name_of_a_record(gpu):
    record = {"device": "NVIDIA H100 80GB HBM3", "torch": "2.13.0+cu130", "date": "2026-01-31"}
    assert gpu.file_name(record) == "NVIDIA-H100-80GB-HBM3-2.13.0+cu130-2026-01-31.json"


# import_record.py


@pytest.fixture
def records(monkeypatch, tmp_path):
    """The module, and what the command line says about a record in a folder of its own."""
    given = SimpleNamespace(names=["net*"], record=tmp_path / "record.json", seconds=60, gigabytes=1000, again=None)
    return bench("import_record"), given


def imported(name):
    """One that cannot be imported, one whose process ends, one that is equal, one that is not."""
    if name == "net1":
        raise ValueError("no such layer\nat all")
    if name == "net2":
        os._exit(0)
    return {"off": {"macs": [1, 2]} if name == "net4" else {}, "unknown": [], "unknown memory": []}


may_fork = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")  # Python 3.12, where threads run


@may_fork
def test_a_record_is_continued(records, capsys):
    record, given = records
    rows = record.run(["net1", "net2", "net3", "other"], imported, "torch", given)
    assert rows["net1"] == {"error": "ValueError: no such layer"}
    assert (rows["net2"], rows["net3"]["off"], len(rows)) == ({"error": "the process ended"}, {}, 3)
    assert record.summary(rows)
    assert (
        "1 of 3 imported, 1 equal, 1 without unknown figures\n   1 ValueError: no such layer" in capsys.readouterr().out
    )
    given.again = "process"
    names = ["net1", "net2", "net3", "net4"]
    assert not record.summary(record.run(names, lambda name: {**imported("net4"), "ran": name}, "torch", given))
    read = json.loads(given.record.read_text())
    assert {name for name, row in read["networks"].items() if "ran" in row} == {"net2", "net4"}
    assert read["about"]["torch"] == torch.__version__.partition("+")[0]
    assert capsys.readouterr().out.endswith("off: net2 {'macs': [1, 2]}\noff: net4 {'macs': [1, 2]}\n")


@may_fork
def test_a_network_has_a_limit_of_time(records):
    record, given = records
    given.seconds = 0
    assert record.run(["net"], lambda name: time.sleep(60), "torch", given) == {"net": {"error": "more than 0 s"}}


def test_a_record_of_other_versions_is_not_continued(records):
    record, given = records
    given.record.write_text('{"about": {"torch": "1.0"}, "networks": {}}')
    with pytest.raises(SystemExit, match=r"record.json is of \{'torch': '1.0'\}, installed is .*: choose another file"):
        record.run(["net"], imported, "torch", given)


# conventions.py


@pytest.mark.slow
@needs_torchvision
def test_a_record_of_conventions_is_continued_and_its_differences_are_reported(tmp_path):
    record = tmp_path / "record.json"
    (tmp_path / "thop.py").write_text("__version__ = '0'\n\ndef profile(*_, verbose):\n    return 1, 2\n")

    def run(*tools):
        options = ["--record", record, "--networks", "torchvision/alexnet", "--path", tmp_path]
        command = [sys.executable, BENCH / "conventions.py", *options, *tools]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    first = run("torch")
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "    2 equal")
    record.write_text(record.read_text().replace("1428376960", "5"))
    second = run("torch", "thop", "fvcore")  # what is recorded is not counted again
    assert (second.returncode, "torch  " in second.stdout) == (1, False)
    assert "    4 differ without a named cause\n" in second.stdout
    assert "\nbuild torchvision/alexnet thop 1\n" in second.stdout
    absent = importlib.util.find_spec("fvcore") is None
    assert ("fvcore: stopped by the error above" in second.stdout) == absent
    unfinished = run("ultralytics")
    assert (unfinished.returncode, "name the folder" in unfinished.stderr) == (2, True)
