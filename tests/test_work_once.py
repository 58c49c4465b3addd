"""A summary expands and analyses each network that it shows once; counted in calls."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.counted_calls import times

from archcalc import analyze, audit, load
from archcalc.cli import cli
from archcalc.spec.expansion import Expansion, expand


def summarize(*arguments):
    return lambda: CliRunner().invoke(cli, ["summarize", *arguments], catch_exceptions=False)


# The network as asked for, then each setting of its published figures: another mode, param, input or batch
WORK = {
    ("vgg16",): (1, 1),
    ("vgg16", "--format", "json"): (1, 1),
    ("vgg16", "--batch", "8"): (1, 2),  # figures are published of one image
    ("vgg16", "--set", "classes=10"): (1, 1),
    ("resnet50",): (3, 3),  # strided: 2; late: True
    ("resnet50", "--fold-bn"): (1, 1),
    ("googlenet",): (3, 4),  # multiplier: 8; in training; against AlexNet
}


@pytest.mark.parametrize("arguments", WORK, ids=" ".join)
def test_a_summary_expands_once_and_analyses_once_for_each_setting(arguments):
    assert (times(expand, summarize(*arguments)), times(analyze, summarize(*arguments))) == WORK[arguments]


def test_a_published_figure_of_another_setting_expands_only_what_differs():
    name = "torchvision/densenet201"
    assert (times(expand, summarize(name)), times(expand, summarize(name, "--no-published"))) == (2, 1)
    assert times(Expansion._layer, summarize(name)) == times(Expansion._layer, summarize(name, "--no-published"))


NEEDLESS = {"importers.caffe", "importers.darknet", "importers.keras_json", "importers.ultralytics", "codegen.export"}
COMMAND = "import sys; from archcalc.cli import main; sys.argv[1:] = {}\ntry: main()\nfinally: print(*sys.modules)"


def loaded(*arguments):
    """The modules that a command imports."""
    code = COMMAND.format(arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {*done.stdout.splitlines()[-1].split()}


def test_a_summary_imports_nothing_that_it_does_not_need(tmp_path):
    modules = loaded("summarize", "vgg16")
    assert not modules & {
        *(f"archcalc.{name}" for name in NEEDLESS),
        "json",
        "shutil",
        "tempfile",
        "traceback",
        "torch",
    }
    network = tmp_path / "net.cfg"
    network.write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\nsize=1\n")
    assert "archcalc.importers.darknet" in loaded("summarize", str(network))


def test_the_test_above_would_notice():
    assert times(expand, lambda: [load("lenet5"), load("lenet5")]) == 2
    graph = load("lenet5")
    assert times(analyze, lambda: (analyze(graph), audit(graph))) == 2
