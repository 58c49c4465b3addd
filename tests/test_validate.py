"""Validation proves the figures, and notices a wrong one: every network of the zoo, and operators that lie."""

import csv
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner
from support.torch_seed import seed_torch
from support.zoo import ONE_OF_EACH_FILE, network
from torch.multiprocessing.reductions import StorageWeakRef

from archcalc import ArchcalcError, SpecError, analyze, load, parse
from archcalc.analysis.saved import saved_bytes, unknown_memory
from archcalc.cli import cli
from archcalc.cli.signals import uninterrupted
from archcalc.graph.batchnorm_folding import folds
from archcalc.ops.convolution import Conv
from archcalc.ops.normalization import BatchNorm
from archcalc.ops.pooling import MaxPool
from archcalc.pytorch import Network, fold_weights, validate
from archcalc.pytorch.measure import Watched, uncounted
from archcalc.pytorch.validation import validate_folded, validate_or_say
from archcalc.render.tables.validate import difference_text

MODULE = sys.modules["archcalc.pytorch.validation"]
SMALL = "name: t\ninput: [3, 8, 8]\nlayers:\n  - a: conv(4, 3) | batchnorm | relu\n  - b: conv(4, 3) | maxpool(2)\n"
ON_CPU = [
    "lenet5", "d2l/lenet", "squeezenet1.1", "resnet20", "plain20", "densenet-40-12", "wrn-40-1", "nin-cifar10",
    "stochastic-depth-110", "fractalnet-20", "googlenet", "blocks/resnext-block", "blocks/mlpconv",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_OF_EACH_FILE)  # `make proofs` takes all
def test_every_network_agrees_on_the_meta_device(name):
    graph = network(name)
    made = validate(graph, "meta")
    assert made.differences == ()
    known = not unknown_memory(graph)  # saved bytes of layers, held bytes
    assert known != made.remark.startswith("memory not compared")
    assert len(made.checks) == (6 + known) * (len(graph.nodes) - len(graph.inputs)) + 2 + known


@pytest.mark.parametrize("name", ON_CPU)
def test_some_networks_agree_on_the_cpu(name):
    assert validate(load(name), "cpu").differences == ()


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_dtypes(device, dtype):
    assert validate(parse(SMALL), device, dtype=dtype).differences == ()


LIES = [
    (
        MaxPool,
        "output",
        lambda self, x: x.of(x.channels, (3, 1)),
        "output: expected 4×3×1, measured 4×2×2",
        "b.maxpool",
    ),
    (Conv, "weights", lambda self, x: {"bias": (5,)}, "weights: expected bias 5, measured weight 4×3×3×3, bias 4", ""),
    (BatchNorm, "buffers", lambda self, x: {}, "buffers: expected none, measured running_mean 4, ", "a.batchnorm"),
    (Conv, "work", lambda self, x, y: {"mac": 7000}, "macs: expected 14,000, measured 7,776", ""),
    (BatchNorm, "writes", lambda self, x, y, training: 7, "written bytes: expected 56, measured 1,152", "a.batchnorm"),
]


@pytest.mark.parametrize(("cls", "method", "lie", "told", "layer"), LIES)
def test_a_wrong_operator_is_caught_and_named(cls, method, lie, told, layer, monkeypatch):
    monkeypatch.setattr(cls, method, lie)
    first = validate(parse(SMALL), "meta").differences[0]
    assert difference_text(first).startswith(f"{layer or 'a.conv'}: {told}")


def test_a_copy_where_none_is_needed_is_caught(monkeypatch):
    monkeypatch.setattr(Network, "_settle", lambda self: [setattr(m, "inplace", False) for m in self.modules()])
    assert {check.figure for check in validate(parse(SMALL), "meta").differences} == {"written bytes"}


def test_saved_bytes_are_watched(monkeypatch):
    truth = Conv.saved
    monkeypatch.setattr(Conv, "saved", lambda self, x, y: truth(self, x, y)._replace(output=True))
    assert {check.figure for check in validate(parse(SMALL), "cpu").differences} == {"saved bytes"}


@pytest.mark.parametrize("name", ["resnet20", "preresnet110", "d2l/lenet", "densenet-40-12"])
def test_folded_networks_compute_the_same(name):
    made = validate_folded(load(name), "cpu")
    assert made.differences == ()
    folded = [check for check in made.checks if check.figure == "off when folded"]
    assert len(folded) == len(folds(load(name))) + 1 if folds(load(name)) else not folded
    assert made.remark == ("" if folded else "nothing to fold")


def test_a_wrong_fold_is_caught_where_it_is(monkeypatch):
    """However deep the network: each layer is compared, not the result alone."""
    truth, seen = fold_weights.scale_and_shift, []

    def without_epsilon(batchnorm):
        seen.append(batchnorm)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batchnorm, "eps", 0 if len(seen) % 55 == 3 else batchnorm.eps)
            return truth(batchnorm)

    monkeypatch.setattr(fold_weights, "scale_and_shift", without_epsilon)
    first = validate_folded(load("plain56"), "cpu").differences[0]
    assert (first.layer, first.figure) == (list(folds(load("plain56")).values())[2], "off when folded")


CANCELLING = [  # what is left of the values is rounding
    "global_avgpool | flatten | groupnorm(in_channels)",
    "global_avgpool | flatten | groupnorm(in_channels, eps=1e-8)",
    "global_avgpool | flatten | groupnorm(in_channels, affine=False) | linear(4, bias=False)",
    "global_avgpool | flatten | groupnorm(in_channels) | groupnorm(in_channels)",
    "global_avgpool | flatten | linear(8) | groupnorm(in_channels)",
    "conv(4, 1) | batchnorm | global_avgpool | flatten | groupnorm(in_channels)",
]


def cancelling(end):
    return parse(f"name: a\ninput: [1, 12, 12]\nlayers: ['conv(4, 1) | batchnorm', '{end}']\n")


@pytest.mark.parametrize("end", CANCELLING)
def test_an_output_of_about_zero_is_no_false_alarm(end):
    for seed in range(5):
        seed_torch(seed)
        assert validate_folded(cancelling(end), "cpu").differences == ()


@pytest.mark.parametrize("end", CANCELLING)
def test_a_wrong_epsilon_is_seen_all_the_same(end, monkeypatch):
    truth = fold_weights.scale_and_shift

    def doubled(batchnorm):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batchnorm, "eps", 2e-5)
            return truth(batchnorm)

    monkeypatch.setattr(fold_weights, "scale_and_shift", doubled)
    found = [check for check in validate_folded(cancelling(end), "cpu").differences if check.layer]
    assert [check.layer for check in found] == list(dict.fromkeys(folds(cancelling(end)).values()))


def test_folding_on_meta_says_that_no_values_are_compared():
    made = validate_folded(parse(SMALL), "meta")
    assert made.remark == "folded, shapes only: meta has no values to compare"
    assert [(c.expected, c.measured) for c in made.checks if c.figure == "batch normalizations folded"] == [(1, 1)]


def test_what_torch_does_not_count():
    report = analyze(load("lenet5"))
    counts = uncounted(report.layers)
    assert list(counts) == ["scaled_tanh", "subsample", "conv", "rbf", "linear"]  # of the latter the biases
    assert sum(counts.values()) + 2 * report.totals.macs == report.totals.flops


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArchcalcError, match="no CUDA device is available"):
        validate(parse(SMALL), "cuda")
    with pytest.raises(ArchcalcError, match="unknown device 'tpu'"):
        validate(parse(SMALL), "tpu")
    assert validate(parse(SMALL)).device == "cpu"


def test_a_network_too_large_is_run_without_values(monkeypatch):
    monkeypatch.setattr(MODULE, "room", lambda device: 1000)
    made = validate_or_say(parse(SMALL), "cpu")
    assert (made.device, made.differences, made.failed) == ("meta", (), False)
    assert made.problem.startswith("ran on meta: it needs about")


def fails(monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(MODULE, "validate", fail)
    return validate_or_say(parse(SMALL), "cpu")


OUT_OF_MEMORY = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_out_of_memory_is_told_with_what_was_foreseen(error, monkeypatch):
    made = fails(monkeypatch, error)
    assert made.failed
    assert made.problem == "out of memory; the estimate was 0.0 GiB"


@pytest.mark.parametrize("text", ["an illegal memory access", "Unsupported memory format", "no kernel\nand more"])
def test_what_pytorch_cannot_run_is_told_as_such(text, monkeypatch):
    made = fails(monkeypatch, RuntimeError(text))
    assert made.failed
    assert made.problem == f"PyTorch cannot run it: {text.partition(chr(10))[0]}"


BAD = {
    "bn1": (
        "  - conv(4, 3) | batchnorm | global_avgpool | batchnorm\n",
        "PyTorch cannot run it: Expected more than 1 v",
    ),
    "side": ('  - conv(4, 3)\n  - side: {a: "conv(3, 9)"}\n  - relu\n', "conv: kernel 9×9 is larger than the padded"),
    "stats": ("  - batchnorm(track_running_stats=False)\n", "batchnorm: without running statistics"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_network_that_cannot_be_run_does_not_stop_the_next(name, tmp_path):
    layers, told = BAD[name]
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}")
    done = run(str(path), "lenet5", "--device", "meta", "--batch", "1", "--format", "json")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)["networks"]
    assert told in first["remark"]
    assert (second["network"], second["differences"]) == ("lenet5", 0)
    assert told in done.stderr
    (problem, *_) = csv.DictReader(io.StringIO(run(str(path), "--batch", "1", "--format", "csv").stdout))
    assert problem["figure"] == "run"
    assert told in problem["measured"]


def test_specs_that_cannot_be_read_are_passed_over_and_told(tmp_path, monkeypatch):
    (tmp_path / "lenet5-broken.yaml").write_text("name: lenet5-broken\ninput: [3]\nlayers:\n  - nonsense\n")
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    done = run("lenet5*", "--device", "meta")
    assert done.exit_code == 1
    assert "1 network, 101 checks: 0 different" in done.stdout
    assert "skipped: " in done.stderr
    assert isinstance(run("lenet5-broken").exception, SpecError)


def test_memory_of_a_network_that_failed_is_given_back():
    """A saved tensor must not keep itself: without a backward pass nothing would free it."""
    network = Watched(parse("name: t\ninput: [3, 8, 8]\nlayers:\n  - 3 * chain(conv(4, 3, padding=1), sigmoid)\n"))
    seen = []

    def watch(module, inputs, output):
        seen.append(StorageWeakRef(output.untyped_storage()))
        if len(seen) == 12:
            raise MemoryError

    for module in network.nodes[1:]:
        module.register_forward_hook(watch)
    with pytest.raises(MemoryError):
        network.train().measure(torch.rand(2, 3, 8, 8, requires_grad=True))
    gc.collect()
    assert all(storage.expired() for storage in seen)


def test_a_network_without_a_kernel_does_not_stop_the_next():
    done = run("alexnet", "lenet5", "--device", "cpu", "--dtype", "float16")  # no local response normalization in it
    assert done.exit_code == 1
    assert "  PyTorch cannot run it: " in done.output
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
    assert {check["equal"] for check in data["checks"]} == {True}
    macs = {check["layer"]: check["expected"] for check in data["checks"] if check["figure"] == "macs"}
    assert macs["c1.conv"] == 2 * 6 * 28 * 28 * 25
    assert data["networks"][0]["uncounted"]["rbf"] == 2 * 2510  # of a batch of 2


def test_verbose_has_a_row_a_check_and_what_torch_ignores():
    text = run("lenet5", "--device", "meta", "--verbose").output
    assert re.search(r"c1\.conv +weights +weight 6×1×5×5, bias 6 +weight 6×1×5×5, bias 6 +yes", text)
    assert re.search(r"c1\.conv +buffers +none +none +yes", text)
    assert "PyTorch's counter leaves out, in FLOPs of the batch: " in text


def test_exit_1_names_the_first_difference(monkeypatch):
    monkeypatch.setattr(Conv, "work", lambda self, x, y: {"mac": 7})
    done = run("resnet20", "--device", "meta")
    assert done.exit_code == 1
    assert "stem.conv            macs    14        884,736    no" in done.output


def test_stopped_in_between(monkeypatch):
    seen = []

    def work(graph, **conditions):
        seen.append(graph.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return validate(graph, "meta")

    monkeypatch.setattr(MODULE, "validate_or_say", work)
    done = run("lenet5", "d2l/lenet", "alexnet")
    assert done.exit_code == 130
    assert "1 network, " in done.stdout
    assert "stopped after 1 of 3 networks" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["lenet5", "--all"], ["lenet5", "--device", "tpu"]])
def test_wrong_requests(arguments):
    assert run(*arguments).exit_code == 2


def test_without_torch_it_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; from archcalc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "validate", "lenet5"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: archcalc.pytorch needs PyTorch: pip install 'archcalc[torch]'\n"


def test_a_broken_torch_is_told_as_such(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    done = subprocess.run(
        [sys.executable, "-m", "archcalc", "validate", "lenet5"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "error: PyTorch is installed, but cannot be imported: libtorch_cpu.so: cannot open shared object file\n"
    )


def test_ctrl_c_waits_for_an_import(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    reached = []

    def work():
        with uninterrupted(signal.SIGINT):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached


def test_dropout_keeps_a_mask_on_cuda():
    graph = parse("name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 3) | dropout | conv(2, 1)\n")
    here, there = (sum(saved_bytes(graph, 2, device=device)) for device in ("cpu", "cuda"))
    assert here - there == 2 * 4 * 36 * 3
