"""Two networks beside each other: which part is paired with which, and what it says about the differences."""

import csv
import io
import json
import math
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
from click.testing import CliRunner
from support.counted_calls import at_most, steps
from support.golden_files import check_golden

from archcalc import analyze, load, parse
from archcalc.cli import cli
from archcalc.comparing import in_order
from archcalc.comparing.alignment import Change, align
from archcalc.render.formats import render
from archcalc.render.tables.compare_parts import alignment_table, change_text, state

HEADER = "name: {}\ninput: [3, 8, 8]\nlayers:\n"


@cache
def report(name, mode="infer"):
    return analyze(load(name), mode=mode)


def reports(*names, mode="infer"):
    return [report(name, mode) for name in names]


@cache
def aligned(left, right, mode="infer"):
    return align(*reports(left, right, mode=mode))


def small(layers, name="t"):
    """A report on layers that are written here."""
    return analyze(parse(HEADER.format(name) + layers))


def output(*args):
    """What the command prints; its errors are raised."""
    result = CliRunner().invoke(cli, ["compare", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def differences(left, right, by="layer"):
    """Part and difference of the rows that are not equal, as the table has them."""
    table = alignment_table(align(left, right), by)
    return [(row["part"], row["difference"]) for row in table.rows if row["state"] != "equal"]


PAIRS = [
    ("resnet50", "torchvision/resnet50"),
    ("cs231n/inception-naive", "cs231n/inception-bottleneck"),
    ("blocks/conv5x5", "blocks/two-conv3x3"),
    ("vgg16", "resnet50"),
    ("plain34", "resnet34"),
    ("googlenet", "densenet121"),
    ("lenet5", "d2l/lenet"),
    ("fractalnet-20", "bn-inception"),
    ("resnet18", "resnet18"),
]


class TestAlignment:
    @pytest.mark.parametrize("pair", PAIRS)
    @pytest.mark.parametrize("depth", [None, 1, 2])
    @pytest.mark.parametrize("whole", [False, True])
    def test_every_layer_is_there_once_and_in_order(self, pair, depth, whole):
        alignment = aligned(*pair, mode="train")
        rows = [alignment.layers(match) for match in alignment.rows(depth, whole)]
        for side, own in enumerate((alignment.left, alignment.right)):
            assert [layer for row in rows for layer in row[side]] == list(own.layers)

    @pytest.mark.parametrize("pair", PAIRS)
    def test_swapping_the_sides_swaps_the_result(self, pair):
        there, back = aligned(*pair), aligned(*pair[::-1])
        swapped = [match.names[::-1] for match in back.rows()]
        paired = [match.names for match in there.rows() if None not in match.names]
        assert paired == [both for both in swapped if None not in both]
        assert sorted(map(str, swapped)) == sorted(str(match.names) for match in there.rows())
        assert len(there.rewired) == len(back.rewired)
        for alignment in (there, back):
            sides = "".join("ab"[match.left is None] if None in match.names else "." for match in alignment.rows(1))
            assert "ba" not in sides  # of neighbours without partner, those on the left come first

    @pytest.mark.parametrize("name", ["resnet50", "googlenet", "fractalnet-40", "densenet-40-12", "lenet5"])
    @pytest.mark.parametrize("mode", ["infer", "train"])
    def test_a_network_is_equal_to_itself(self, name, mode):
        alignment = aligned(name, name, mode=mode)
        assert all(alignment.equal(match) and match.names[0] == match.names[1] for match in alignment.rows())
        table = alignment_table(alignment, "layer")
        assert [row["state"] for row in table.rows] == ["equal"]

    @pytest.mark.parametrize("pair", PAIRS)
    @pytest.mark.parametrize("by", ["stage", "block", "layer"])
    @pytest.mark.parametrize("every", [False, True])
    def test_rows_add_up_to_both_totals(self, pair, by, every):
        alignment = aligned(*pair)
        table = alignment_table(alignment, by, every)
        for key in ("params", "macs", "flops", "activations"):
            for side, own in (("a", alignment.left), ("b", alignment.right)):
                total = getattr(own.totals, key)
                assert sum(row[f"{key}_{side}"] for row in table.rows) == total == table.totals[f"{key}_{side}"]
            for row in table.rows:
                assert row[f"{key}_difference"] == row[f"{key}_b"] - row[f"{key}_a"]

    def test_rows_of_a_family_in_which_names_agree(self):
        """ResNet-101 is ResNet-50 with 17 blocks more, and nothing else."""
        assert differences(*reports("resnet50", "resnet101")) == [("stage3.6 … 22", "only in B: 17 parts")]
        assert differences(*reports("resnet101", "resnet50")) == [("stage3.6 … 22", "only in A: 17 parts")]

    def test_other_names(self):
        left = "  - stage1: conv(8, 3, padding=1) | relu | maxpool(2)\n  - stage2: conv(16, 3) | relu\n"
        assert differences(small(left), small(left.replace("stage", "layer"))) == []
        assert differences(small(left), small(left.replace("stage", "layer").replace("16", "20"))) == [
            ("stage2.conv / layer2.conv", "out_channels 16 → 20"),
            ("stage2.relu / layer2.relu", "16×2×2 → 20×2×2"),
        ]

    @pytest.mark.parametrize("outer", ["features", "trunk"])  # before and behind the names of VGG-16
    def test_other_nesting(self, outer):
        """A network whose stages and classifier stand in blocks of other names than VGG-16 has them."""
        blocks = "".join(
            f"    - layer{number}: {depth} * unit({width}) | maxpool(2)\n"
            for number, (width, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1)
        )
        wrapped = parse(
            "name: wrapped\ninput: [3, 224, 224]\nblocks:\n  unit(width):\n    - conv(width, 3, padding=1) | relu\n"
            f"layers:\n  - {outer}:\n{blocks}  - classifier:\n    - flatten\n"
            "    - 2 * (linear(4096) | relu | dropout)\n    - linear(100)\n"
        )
        found = differences(analyze(load("vgg16")), analyze(wrapped))
        assert found == [("fc8 / classifier.linear3", "out_features 1000 → 100")]

    def test_other_wiring_is_no_equality(self):
        layers = "  - s: conv(3, 1)\n  - a: conv(3, 1)\n  - b: conv(3, 1)\n  - add: {x: identity, y: use(a)}\n"
        found = differences(small(layers), small(layers.replace("use(a)", "use(s)")))
        assert found == [("add", "inputs x + a → x + s")]

    @pytest.mark.parametrize("pair", [("resnet1202", "resnet110"), ("fractalnet-40", "resnet110")])
    def test_depth_costs_little(self, pair):
        both = reports(*pair)
        with at_most(3_000_000):  # calls
            alignment_table(align(*both), "layer", every=True)


def flat(length, layers):
    """A network without blocks: `layers` again and again."""
    return small(f"  - {length // 2} * ({layers})\n")


class TestLongRows:
    """Of rows too long to look at all pairs, those of a band are looked at."""

    OTHERS = "conv(3, 1) | relu", "conv(3, 3, padding=1) | sigmoid"

    def work(self, length):
        both = [flat(length, layers) for layers in self.OTHERS]
        return steps(lambda: align(*both))

    def test_work_does_not_jump_at_a_length(self, monkeypatch):
        """98 layers are below the bound that is set here, 102 above."""
        monkeypatch.setattr(in_order, "MAX_PAIRS", 10_000)
        assert 0.9 < self.work(102) / self.work(98) < 1.1

    def test_work_is_linear_in_the_end(self, monkeypatch):
        monkeypatch.setattr(in_order, "MAX_PAIRS", 1_000)
        assert self.work(1600) / self.work(400) < 4.4

    @pytest.mark.parametrize("length", [990, 1_010, 5_000, 20_000])
    def test_a_million_pairs_are_looked_at(self, length):
        pairs = sum(map(len, in_order._windows(length, length)))
        assert 0.95 < pairs / in_order.MAX_PAIRS < 1.05

    @pytest.mark.parametrize("length", [990, 1010, 3000])
    def test_the_answer_is_of_one_kind(self, length):
        alignment = align(*(flat(length, layers) for layers in self.OTHERS))
        assert [match.names for match in alignment.rows() if None in match.names] == []
        states = {state(alignment, match) for match in alignment.rows()}
        assert states == {"equal", "changed"}  # the input, and the layers

    @pytest.mark.parametrize("most", [1, 3, 100, 1_000])
    @pytest.mark.parametrize("pair", [("vgg16", "vgg19"), ("resnet50", "densenet121"), ("googlenet", "nin")])
    def test_every_layer_is_there_once_and_swapping_swaps(self, pair, most, monkeypatch):
        monkeypatch.setattr(in_order, "MAX_PAIRS", most)
        monkeypatch.setattr(in_order, "MIN_WINDOW", 2)
        both = reports(*pair)
        alignment, back = align(*both), align(*both[::-1])
        for side, own in enumerate(both):
            rows = [alignment.layers(match)[side] for match in alignment.rows()]
            assert [layer for row in rows for layer in row] == list(own.layers)
        found = {match.names for match in alignment.rows() if None not in match.names}
        assert found == {match.names[::-1] for match in back.rows() if None not in match.names}

    @pytest.mark.parametrize("rows", [1, 2, 7, 40])
    @pytest.mark.parametrize("columns", [1, 3, 40, 300])
    def test_windows_never_move_back_and_end_at_the_end(self, rows, columns, monkeypatch):
        monkeypatch.setattr(in_order, "MAX_PAIRS", 50)
        monkeypatch.setattr(in_order, "MIN_WINDOW", 2)
        windows = in_order._windows(rows, columns)
        assert len(windows) == rows + 1
        assert windows[-1].stop == columns
        for one, following in pairwise(windows):
            assert 0 <= one.start <= following.start <= following.stop <= columns
            assert one.stop <= following.stop
        if rows * columns <= 50:
            assert set(windows) == {range(columns)}

    def test_a_wide_band_finds_the_best(self, monkeypatch):
        """A layer more in the middle, others at both ends: the band leaves the diagonal and comes back."""
        left = small(
            "  - conv(3, 3) | softmax\n  - 20 * (conv(3, 1) | relu)\n  - 20 * (conv(3, 1) | sigmoid)\n  - tanh\n"
        )
        right = small("  - 20 * (conv(3, 1) | relu)\n  - lrn(3)\n  - 20 * (conv(3, 1) | sigmoid)\n  - silu\n")
        whole = align(left, right)
        monkeypatch.setattr(in_order, "MAX_PAIRS", 1_000)
        assert [match.names for match in align(left, right).rows()] == [match.names for match in whole.rows()]


def repeated(count, layers):
    """A block of 100 layers, several times."""
    text = "name: t\ninput: [3, 8, 8]\nblocks:\n  b:\n    - a: conv(3, 1)\n    - 50 * ({})\nlayers: ['{} * b']\n"
    return analyze(parse(text.format(layers, count)))


def test_a_block_that_repeats_is_aligned_once(monkeypatch):
    """What two blocks have in common depends on their layers, not on which of many equal ones they are."""
    looked_at = []
    plain = in_order._windows
    monkeypatch.setattr(in_order, "_windows", lambda *size: looked_at.append(size) or plain(*size))
    alignment = align(repeated(12, "conv(3, 1) | relu"), repeated(12, "conv(3, 3, padding=1) | sigmoid"))
    assert sum(rows * columns for rows, columns in looked_at) < 2 * 101**2 + 12**2
    for i, match in enumerate(match for match in alignment.rows() if match.names[0] != "input"):
        names = {name.partition(".")[0] for name in match.names}
        assert names == {str(i // 101)}
        assert match.left.start == match.right.start == i + 1


PLACES = {
    ("resnet50", "densenet121"): {"stem": "stem", "stage1": "block1", "stage2": "block2", "stage3": "block3",
                                  "stage4": "block4", "head": "head"},
    ("vgg16", "resnet50"): {"stage1": None, "stage2": "stem", "stage3": "stage1", "stage4": "stage2",
                            "stage5": "stage3", "fc8": "head"},
    ("googlenet", "inception-v3"): {"conv1": "conv1", "pool1": "pool1", "pool2": "pool2", "3a": "figure5.0",
                                    "3b": "figure5.1", "4b": "figure6.0", "4e": "figure6.3", "5a": "figure7.0",
                                    "5b": "figure7.1", "pool3": None, "linear": "linear"},
    ("bn-inception", "inception-v2"): {"3a": "figure5.0", "3c": "figure5.2", "4a": "figure6.0", "4e": "figure6.4",
                                       "5a": "figure7.0", "5b": "figure7.1"},
    ("googlenet", "bn-inception"): {"3a": "3a", "3b": "3b", "4a": "4a", "4e": "4e", "5b": "5b", "pool3": None},
    ("alexnet", "vgg16"): {"conv1": "stage3", "pool1": None, "conv2": "stage4", "conv3": "stage5", "fc6": "fc6",
                           "fc8": "fc8"},
    ("vgg16", "googlenet"): {"stage1": None, "stage2": "conv1", "stage3": "conv2", "stage4": "3a", "stage5": "4a",
                             "fc8": "linear"},
    ("nin", "alexnet"): {"mlpconv1": "conv1", "mlpconv2": "conv2", "mlpconv3": "conv3", "pool3": "pool5"},
    ("lenet5", "d2l/lenet"): {"c1": "conv1", "s2": "pool1", "c3": "conv2", "s4": "pool2", "output": "fc3"},
    ("squeezenet1.0", "squeezenet1.1"): {f"fire{i}": f"fire{i}" for i in range(2, 10)} | {"pool4": None},
    ("d2l/resnet18", "resnet18"): {f"stage{i}": f"stage{i}" for i in range(1, 5)},
}  # fmt: skip


@pytest.mark.parametrize("pair", PLACES)
def test_what_works_at_the_same_scale_is_paired(pair):
    there, back = aligned(*pair), aligned(*pair[::-1])
    found = dict(match.names for match in there.rows(1) if match.left)
    assert {part: found.get(part, "not a row") for part in PLACES[pair]} == PLACES[pair]
    assert {names for match in back.rows(1) if None not in (names := match.names[::-1])} == {
        match.names for match in there.rows(1) if None not in match.names
    }


@pytest.mark.parametrize("pair", [pair for pair in PLACES if "squeezenet1.0" not in pair])
def test_nothing_is_paired_across_scales(pair):
    """No pair of layers is a factor of two or more apart, measured against the input's side."""
    alignment = aligned(*pair)
    for match in alignment.rows():
        if match.left and match.right:
            (mine,), (yours,) = alignment.layers(match)
            sides = [
                math.sqrt(math.prod(report.graph.input[1:]) / math.prod(layer.node.output[1:]))
                for report, layer in ((alignment.left, mine), (alignment.right, yours))
            ]
            at_end = mine.node.output[1:] in ((), (1, 1))  # has no side
            assert at_end or 0.5 < sides[0] / sides[1] < 2, match.names


class TestFindings:
    def test_the_stride_of_resnet50(self):
        """The paper strides in the first 1×1, torchvision in the 3×3; nothing else differs."""
        found = differences(*reports("resnet50", "torchvision/resnet50"))
        for stage in (2, 3, 4):
            block = f"stage{stage}.0.body"
            assert (f"{block}.conv1", "stride 2 → 1") in found
            assert (f"{block}.conv2", "stride 1 → 2") in found
        assert len(found) == 9
        sizes = {"28×28 → 56×56", "14×14 → 28×28", "7×7 → 14×14"}
        assert {text for _, text in found} == {"stride 2 → 1", "stride 1 → 2"} | sizes
        rows = alignment_table(aligned("resnet50", "torchvision/resnet50"), "stage").rows
        assert [(row["part"], row["macs_difference"]) for row in rows if row["state"] != "equal"] == [
            (f"stage{stage}", 77_070_336) for stage in (2, 3, 4)
        ]
        assert rows[1]["difference"] == "0.body.conv1: stride 2 → 1; 0.body.conv2: stride 1 → 2"

    def test_the_bottlenecks_of_inception(self):
        found = differences(*reports("cs231n/inception-naive", "cs231n/inception-bottleneck"))
        assert [part for part, text in found if text == "only in B: conv(64, 1), relu"] == [
            "3x3.conv1 … relu1",
            "5x5.conv1 … relu1",
            "pool.conv … relu",
        ]
        assert ("3x3.conv / 3x3.conv2", "input 256×28×28 → 64×28×28") in found
        table = alignment_table(aligned("cs231n/inception-naive", "cs231n/inception-bottleneck"), "stage")
        assert table.totals["macs_difference"] == 271_351_808 - 854_196_224
        more = {row["part"]: row["macs_difference"] for row in table.rows}
        assert more == {"… 1x1": 0, "3x3": -247_267_328, "5x5": -348_422_144, "pool": 12_845_056, "concat": 0}

    def test_two_small_kernels_for_a_large_one(self):
        found = differences(*reports("blocks/conv5x5", "blocks/two-conv3x3"))
        assert found == [
            ("conv / conv1", "kernel_size 5 → 3"),
            ("conv2 … relu2", "only in B: conv(192, 3, padding='same', bias=False), relu"),
        ]

    def test_residual_connections(self):
        """ResNet-34 is its plain twin with a shortcut around every two convolutions, three of them projections."""
        alignment = aligned("plain34", "resnet34")
        more = [match.right for match in alignment.rows() if match.left is None]
        assert Counter(piece.op.name for piece in more) == {"add": 16, "identity": 13, "conv": 3, "batchnorm": 3}
        assert {piece.label for piece in more if piece.op.name in ("identity", "add")} == {"skip", "add"}
        assert all(alignment.equal(match) for match in alignment.rows() if match.left)
        rows = alignment_table(alignment, "layer").rows
        assert [row["part"] for row in rows if "conv" in row["difference"]] == [
            f"stage{i}.0.skip.conv" for i in (2, 3, 4)
        ]
        assert sum(row["params_difference"] for row in rows) == sum(
            width // 2 * width + 2 * width for width in (128, 256, 512)
        )

    def test_what_a_block_reads_is_told_where_that_makes_the_difference(self):
        found = dict(differences(*reports(*PAIRS[1]), by="stage"))
        assert found["3x3"] == "conv1 … relu1 only in B; conv / conv2: input 256×28×28 → 64×28×28"
        assert found["concat"] == "672×28×28 → 480×28×28"
        found = dict(differences(*reports("alexnet", "torchvision/alexnet"), by="stage"))
        assert found["conv3"] == "conv: input 256×13×13 → 192×13×13"

    def test_what_stands_elsewhere_is_told_once(self):
        found = dict(differences(*reports("alexnet", "torchvision/alexnet"), by="stage"))
        assert found["fc6"] == "dropout moved"

    def test_other_resolutions(self):
        found = dict(differences(*reports("squeezenet1.0", "squeezenet1.1"), by="stage"))
        assert found["fire4"] == "55×55 → 28×28"
        assert found["fire9"] == "13×13 → 14×14"
        assert found["pool3"] == "only in B: maxpool(3, stride=2, ceil_mode=True)"

    def test_blocks_without_common_layers(self):
        found = dict(differences(*reports("vgg16", "resnet50"), by="stage"))
        assert found["stage3 / stage1"] == "other layers, 7 → 34"

    def test_stages_of_layers_are_blocks(self):
        rows = alignment_table(aligned("torchvision/vgg16", "torchvision/vgg16_bn"), "block").rows
        assert [row["part"] for row in rows] == ["input", *(f"stage{i}" for i in range(1, 6)), "… fc8"]

    @pytest.mark.parametrize("pair", PAIRS)
    @pytest.mark.parametrize("by", ["stage", "block", "layer"])
    def test_differences_of_params_and_macs_are_shown_at_80(self, pair, by):
        table = alignment_table(aligned(*pair), by)
        heads = render(table, width=80).splitlines()[2:4]
        assert "Params" in heads[0]
        assert "MACs" in heads[0]
        assert heads[1].count("B − A") >= 2
        merged = any(row["part"].startswith("…") for row in table.rows)
        assert merged == any("all parts since the row above" in note for note in table.notes)

    def test_operators_and_long_arguments(self):
        found = dict(differences(*reports("lenet5", "d2l/lenet")))
        assert found["s2.subsample / pool1"] == "subsample(2) → avgpool(2)"
        assert found["c3.conv / conv2.conv"] == "connections [[0, 1, 2], [1, 2, 3], … → None"

    def test_programs_get_every_layer(self):
        data = json.loads(output("resnet50", "torchvision/resnet50", "--by", "layer", "--format", "json"))
        assert len(data["parts"]) == len(analyze(load("resnet50")).layers)
        assert data["totals_b"]["macs"] == 4_089_184_256
        rows = list(csv.DictReader(io.StringIO(output(*PAIRS[0], "--by", "layer", "--format", "csv"))))
        assert len(rows) == len(data["parts"])
        assert {row["network_b"] for row in rows} == {"torchvision/resnet50"}


GOLDEN = {
    "resnet50-by-layer": (lambda: alignment_table(aligned(*PAIRS[0]), "layer"), (80, 120, 200)),
    "resnet50-by-stage": (lambda: alignment_table(aligned(*PAIRS[0]), "stage"), (80, 120)),
    "inception-by-layer": (lambda: alignment_table(aligned(*PAIRS[1]), "layer"), (80, 200)),
    "inception-by-stage": (lambda: alignment_table(aligned(*PAIRS[1]), "stage"), (80, 120)),
    "vgg16-resnet50-by-stage": (lambda: alignment_table(aligned(*PAIRS[3]), "stage"), (80, 120)),
}


@pytest.mark.parametrize(("name", "width"), [(name, width) for name, (_, widths) in GOLDEN.items() for width in widths])
def test_golden_tables(name, width):
    text = render(GOLDEN[name][0](), width=width)
    check_golden(f"compare/{name}-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width


def test_equal_sizes_of_other_numbers_of_lengths_are_written_out():
    assert change_text(Change("kernel_size", (3, 3, 3), (3,))) == "kernel_size 3×3×3 → 3"
    assert change_text(Change("kernel_size", (3, 3), (5, 5))) == "kernel_size 3 → 5"
