"""Validation proves the figures, and notices a wrong one: every network of the zoo, and operators that lie."""

import json
import re
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from archcalc import ArchcalcError, catalog, load, parse
from archcalc.analysis.saved import held_bytes, saved_bytes
from archcalc.cli import cli
from archcalc.ops.convolution import Conv
from archcalc.ops.normalization import BatchNorm
from archcalc.pytorch import Training, build, validate
from archcalc.pytorch.validate import identity, ignored, validate_folded, validate_or_say

MODULE = sys.modules[validate.__module__]
SMALL = "name: t\ninput: [3, 8, 8]\nlayers:\n  - a: conv(4, 3) | batchnorm | relu\n  - b: conv(4, 3) | maxpool(2)\n"
ON_CPU = [
    "lenet5", "d2l/lenet", "squeezenet1.1", "resnet20", "plain20", "densenet-40-12", "wrn-40-1", "nin-cifar10",
    "stochastic-depth-110", "fractalnet-20", "googlenet", "blocks/resnext-block", "blocks/grid", "blocks/mlpconv",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(catalog()))
def test_every_network_agrees_on_the_meta_device(name):
    made = validate(load(name), "meta")
    assert made.differences == ()
    assert len(made.checks) > 5 * (len(load(name).nodes) - 1)


@pytest.mark.parametrize("name", [name for name in ON_CPU if name in catalog()])
def test_some_networks_agree_on_the_cpu(name):
    assert validate(load(name), "cpu").differences == ()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes(dtype):
    assert validate(parse(SMALL), "cpu", dtype=dtype).differences == ()


LIES = [
    ("output", Conv, "weights", lambda self, x: {"weight": (4, 3, 3, 3), "bias": (5,)}, "weights"),
    ("macs", Conv, "work", lambda self, x, y: {"mac": 7}, "macs"),
    ("buffers", BatchNorm, "buffers", lambda self, x: {}, "buffers"),
]


@pytest.mark.parametrize(("name", "cls", "method", "lie", "figure"), LIES)
def test_a_wrong_operator_is_caught_and_named(name, cls, method, lie, figure, monkeypatch):
    monkeypatch.setattr(cls, method, lie)
    first = validate(parse(SMALL), "meta").differences[0]
    assert first.figure == figure
    assert first.layer == ("a.batchnorm" if cls is BatchNorm else "a.conv")
    assert first.expected != first.measured
    assert str(first).startswith(f"{first.layer}: {figure}: expected ")


def test_saved_bytes_are_watched(monkeypatch):
    truth = Conv.saved
    monkeypatch.setattr(Conv, "saved", lambda self, x, y: truth(self, x, y)._replace(output=True))
    assert {check.figure for check in validate(parse(SMALL), "cpu").differences} == {"saved_bytes"}


@pytest.mark.parametrize("name", ["resnet20", "preresnet110", "d2l/lenet", "densenet-40-12"])
def test_folded_networks_compute_the_same(name):
    made = validate_folded(load(name), "cpu")
    assert made.differences == ()
    assert made.checks[-1].figure == "folded output"


def test_a_wrong_fold_is_caught(monkeypatch):
    monkeypatch.setattr(MODULE, "fold", lambda network: network.__class__(network.graph).double().eval())
    assert validate_folded(parse(SMALL), "cpu").differences[-1].figure == "folded output"


def test_what_torch_does_not_count():
    counts = ignored(load("resnet20"))
    assert {"batchnorm", "relu", "add"} <= set(counts)
    assert "conv" not in counts


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArchcalcError, match="no CUDA device is there"):
        validate(parse(SMALL), "cuda")
    with pytest.raises(ArchcalcError, match="unknown device 'tpu'"):
        validate(parse(SMALL), "tpu")
    assert validate(parse(SMALL)).device == "cpu"


def test_a_network_too_large_is_run_without_values(monkeypatch):
    monkeypatch.setattr(MODULE, "memory_of", lambda device: 1000)
    made = validate_or_say(parse(SMALL), "cpu")
    assert (made.device, made.differences, made.failed) == ("meta", (), False)
    assert made.problem.startswith("shapes only: needs about")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_is_told_with_what_was_foreseen(error, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(MODULE, "validate", fail)
    made = validate_or_say(parse(SMALL), "cpu")
    assert made.failed
    assert made.problem.startswith("out of memory; about 0.0 GiB were foreseen")


def test_what_pytorch_cannot_run_is_told_as_such(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel for it\nand more")

    monkeypatch.setattr(MODULE, "validate", fail)
    made = validate_or_say(parse(SMALL), "cpu")
    assert made.failed
    assert made.problem == "PyTorch cannot run it: no kernel for it"


def test_a_network_without_a_kernel_does_not_stop_the_next():
    done = run("alexnet", "lenet5", "--device", "cpu", "--dtype", "float16")  # no local response normalization in it
    assert done.exit_code == 1
    assert "alexnet: PyTorch cannot run it: " in done.output
    assert "2 networks, " in done.output
    assert ", 1 not run" in done.output


def run(*arguments):
    return CliRunner().invoke(cli, ["validate", *arguments])


def test_command():
    done = run("lenet5", "d2l/lenet", "--device", "meta")
    assert done.exit_code == 0
    assert "2 networks, " in done.output
    assert "0 different" in done.output
    data = json.loads(run("lenet5", "--device", "meta", "--format", "json").output)
    assert {check["equal"] for check in data["checks"]} == {"yes"}
    assert {"layer", "figure", "expected", "measured"} <= set(data["checks"][0])


def test_verbose_has_a_row_a_check_and_what_torch_ignores():
    text = run("lenet5", "--device", "meta", "--verbose").output
    assert re.search(r"c1\.conv +weights +weight 6×1×5×5, bias 6 +weight 6×1×5×5, bias 6 +yes", text)
    assert re.search(r"c1\.conv +buffers +none +none +yes", text)
    assert "PyTorch's counter leaves out, in FLOPs an image: " in text


def test_exit_1_names_the_first_difference(monkeypatch):
    monkeypatch.setattr(Conv, "work", lambda self, x, y: {"mac": 7})
    done = run("resnet20", "--device", "meta")
    assert done.exit_code == 1
    assert "resnet20: stem.conv: macs: expected 14, measured 884736" in done.output


def test_stopped_in_between(monkeypatch):
    seen = []

    def work(graph, *arguments):
        seen.append(graph.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return validate(graph, "meta")

    monkeypatch.setattr(MODULE, "validate_or_say", work)
    done = run("lenet5", "d2l/lenet", "alexnet")
    assert done.exit_code == 130
    assert "1 network, " in done.output


@pytest.mark.parametrize("arguments", [[], ["lenet5", "--all"], ["lenet5", "--device", "tpu"]])
def test_wrong_requests(arguments):
    assert run(*arguments).exit_code == 2


def test_without_torch_it_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; from archcalc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "validate", "lenet5"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: archcalc.pytorch wants PyTorch: pip install 'archcalc[torch]'\n"


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "googlenet", "densenet-40-12", "squeezenet1.1"])
def test_what_a_forward_pass_leaves_behind(name):
    """On a GPU the allocator's growth is held against this; here the memory of all that is saved or given."""
    graph = load(name)
    network, image = build(graph), torch.rand(2, *graph.input, requires_grad=True)
    there = {identity(tensor) for tensor in (*network.parameters(), *network.buffers(), image)}
    held = {}

    def note(tensor):
        held[identity(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        given = network(image)
    for tensor in [given.result, *given.sides.values()] if isinstance(given, Training) else [given]:
        note(tensor)
    assert sum(count for where, count in held.items() if where not in there) == held_bytes(graph, 2)


def test_dropout_keeps_a_mask_on_cuda():
    graph = parse("name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3) | dropout | conv(2, 1)\n")
    here, there = (sum(saved_bytes(graph, 2, cuda=cuda)) for cuda in (False, True))
    assert here - there == 2 * 4 * 36 * 3
