"""A summary expands and analyses each network that it shows once; counted in calls."""

import pytest
from click.testing import CliRunner
from support.counted_calls import times

from archcalc import analyze, audit, load
from archcalc.cli import cli
from archcalc.spec.expansion import expand


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


def test_the_test_above_would_notice():
    assert times(expand, lambda: [load("lenet5"), load("lenet5")]) == 2
    graph = load("lenet5")
    assert times(analyze, lambda: (analyze(graph), audit(graph))) == 2
