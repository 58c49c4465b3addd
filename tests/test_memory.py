"""Buffers by kind: running statistics, counters, and what is neither."""

import json

import pytest
from click.testing import CliRunner

from archcalc import analyze, load, parse
from archcalc.cli import cli
from archcalc.figures import Figures
from archcalc.report.summary import summary

HEAD = "name: t\ninput: [10, 8, 8]\nlayers:\n"

XCEPTION = """
name: xception-without-top
input: [3, 299, 299]
blocks:
  sep(channels):
    - conv(in_channels, 3, padding=1, groups=in_channels, bias=False) | conv(channels, 1, bias=False) | batchnorm
  entry(channels, first):
    - add:
        body: (sep(channels) if first else relu | sep(channels)) | relu | sep(channels) | maxpool(3, 2, padding=1)
        skip: conv(channels, 1, stride=2, bias=False) | batchnorm
  middle:
    - add(body=3 * (relu | sep(728)), skip=identity)
layers:
  - conv(32, 3, stride=2, bias=False) | batchnorm | relu | conv(64, 3, bias=False) | batchnorm | relu
  - entry(128, True) | entry(256, False) | entry(728, False)
  - 8 * middle
  - add:
      body: relu | sep(728) | relu | sep(1024) | maxpool(3, stride=2, padding=1)
      skip: conv(1024, 1, stride=2, bias=False) | batchnorm
  - sep(1536) | relu | sep(2048) | relu | global_avgpool | flatten
"""
TINY_YOLO = """
name: tiny-yolo2
input: [3, 416, 416]
blocks:
  unit(channels): conv(channels, 3, padding=1, bias=False) | batchnorm | relu
layers:
  - chain(unit(16 * 2 ** i) | maxpool(2) for i in range(5))
  - unit(512) | unit(1024) | unit(1024) | conv(98, 1)
"""

KINDS = {  # spec: params, running statistics, counters, fixed values; the line of the summary
    "batchnorm of 10 channels": (HEAD + "  - batchnorm\n", (20, 20, 1, 0), "20 running statistics + 1 counter = 88 B"),
    "without statistics in the folded network": (HEAD + "  - conv(4, 1)\n", (44, 0, 0, 0), None),
    "Chollet 2016, as Keras lists it": (
        XCEPTION, (20_806_952, 54_528, 40, 0), "54,528 running statistics + 40 counters = 218,432 B",
    ),
    "keras-yolo2: 15,834,098 trainable, 6,112 not": (
        TINY_YOLO, (15_834_098, 6_112, 8, 0), "6,112 running statistics + 8 counters = 24,512 B",
    ),
    "prototypes": (
        "name: t\ninput: [84]\nlayers:\n  - rbf(10) | batchnorm\n", (20, 20, 1, 840),
        "20 running statistics + 1 counter + 840 fixed values = 3,448 B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_kinds_of_buffers(case):
    text, (params, statistics, counters, fixed), line = KINDS[case]
    report = analyze(parse(text))
    totals = report.totals
    kinds = (totals.params, totals.running_statistics, totals.batch_counters, totals.fixed_values)
    assert kinds == (params, statistics, counters, fixed)
    assert totals.buffers == statistics + counters + fixed
    assert totals.params_with_statistics == params + statistics
    said = dict(summary(report))
    assert said.get("buffers") == line
    assert (f"\n{params + statistics:,} with running statistics" in said["params"]) == bool(statistics)


def test_lenet5_has_fixed_prototypes():
    assert dict(summary(analyze(load("lenet5"))))["buffers"] == "840 fixed values = 3,360 B"


def test_the_total_with_statistics_is_a_figure_of_parts_too():
    figures = Figures(analyze(parse(XCEPTION)))
    assert figures.figure("params_with_statistics") == 20_861_480
    assert figures.figure("params_with_statistics", "op:batchnorm") == 2 * 54_528
    assert figures.figure("batch_counters", "op:batchnorm") == 40


def test_compare_shows_it_where_it_is_asked_for(tmp_path):
    path = tmp_path / "xception.yaml"
    path.write_text(XCEPTION)
    run = CliRunner().invoke
    asked = run(cli, ["compare", str(path), "--columns", "params_with_statistics"]).output
    assert "20,861,480" in asked
    assert "20,861,480" not in run(cli, ["compare", str(path)]).output
    (entry,) = json.loads(run(cli, ["compare", str(path), "--format", "json"]).output)["networks"]
    assert entry["params_with_statistics"] == 20_861_480
