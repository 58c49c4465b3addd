"""Pictures of networks: that nothing is lost when repeats are folded, and how far blocks are opened."""

from itertools import pairwise
from math import prod

import pytest
from support.diagram_cases import NETWORKS, WAYS, drawn_as, places, trained, wiring

from archcalc import analyze, load, parse
from archcalc.ops.base import REGISTRY, make
from archcalc.render.diagrams.layout import READABLE, Box, Cluster, boxes, diagram, operator_text


def network(layers, blocks="", shape=(3, 8, 8)):
    """The report of a small network, from its lines."""
    text = f"name: t\ninput: {list(shape)}\nlayers:\n{layers}" + (f"blocks:\n{blocks}" if blocks else "")
    return analyze(parse(text), mode="train")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
class TestNothingIsLost:
    @pytest.fixture
    def report(self, name):
        return trained(name)

    @pytest.fixture
    def picture(self, name, way):
        return drawn_as(name, way)

    def test_each_layer_is_in_one_box_or_on_an_arrow(self, report, picture, way):
        shown = [i for box in picture.boxes() for copy in box.copies for i in copy]
        arrows = set(range(len(report.layers))) - set(shown)
        assert len(set(shown)) == len(shown)
        assert {report.layers[i].node.op.name for i in arrows} <= {"identity"}
        assert not (way.startswith("all") and arrows)

    def test_repeats_are_as_many_as_they_say_and_alike(self, report, picture):
        nodes = [layer.node for layer in report.layers]
        for box, path in places(picture.parts):
            assert len(box.copies) == prod(times for _, times in path)
            for copy in box.copies:
                assert [nodes[i].op for i in copy] == [nodes[i].op for i in box.copies[0]]
                assert [nodes[i].output[1:] for i in copy] == [nodes[i].output[1:] for i in box.copies[0]]

    def test_the_edges_are_the_graphs(self, report, picture):
        wanted = wiring(report, picture)
        assert {(edge.source, edge.target) for edge in picture.edges} == set(wanted)
        for edge in picture.edges:
            shapes = wanted[edge.source, edge.target]
            assert set(edge.shapes) <= set(shapes)
            if len(picture.boxes()[edge.target].copies) == 1:
                assert edge.shapes[0] == edge.shapes[1]
        drawn = {}
        for edge in picture.edges:
            drawn.setdefault((edge.source, edge.target), set()).update(edge.shapes)
        for pair, shapes in wanted.items():
            assert shapes[0] in drawn[pair]
            assert shapes[-1] in drawn[pair]


GROW = "  grow:\n    - concat:\n        old: identity\n        new: conv(4, 1)\n    - maxpool(3, 1, 1)\n"
TWO = "  two:\n    - add:\n        old: identity\n        new: 2 * conv(3, 1)\n"


class TestFolding:
    def drawn(self, layers, blocks="", **options):
        return [
            (part.label, part.times, *getattr(part, "lines", ()))
            for part in diagram(network(layers, blocks), **options).parts
            if part.label not in ("input", "output", "side output")
        ]

    def test_alike_layers_in_a_row(self):
        assert self.drawn("  - 3 * conv(3, 3, padding=1)\n") == [("", 3, "conv 3×3, 3")]

    def test_other_shapes_and_arguments_are_not_alike(self):
        assert [times for _, times, *_ in self.drawn("  - 2 * conv(3, 3)\n  - conv(3, 1)\n")] == [1, 1, 1]

    def test_numbered_blocks_may_grow_in_channels(self):
        picture = diagram(network("  - 3 * grow\n", GROW))
        assert [(part.label, part.times) for part in picture.parts[1:-1]] == [("", 3)]
        assert [edge.text for edge in picture.edges] == ["3×8×8", "3×8×8", "4×8×8", "7…15×8×8", "15×8×8"]

    def test_labelled_blocks_may_not_grow(self):
        assert self.drawn("  - a: grow\n  - b: grow\n", GROW) == [("a", 1), ("b", 1)]

    def test_labelled_blocks_that_are_alike(self):
        assert self.drawn("  - a: two\n  - b: two\n", TWO) == [("a–b", 2)]

    def test_what_is_read_from_elsewhere_is_not_folded(self):
        layers = "  - a: two\n  - b: two\n  - c: two\n  - d: two\n  - add:\n    - use(b)\n    - identity\n"
        assert [part[:2] for part in self.drawn(layers, TWO)] == [("a–b", 2), ("c–d", 2), ("", 1)]

    def test_what_has_side_outputs_is_not_folded(self):
        block = f"{TWO}    - side:\n        head: conv(2, 1)\n"
        assert [part[1] for part in self.drawn("  - 2 * two\n", block)] == [1, 1]

    def test_branches_side_by_side_are_not_folded(self):
        layers = "  - add:\n    - conv(3, 1)\n    - conv(3, 1)\n"
        assert [part[1] for part in self.drawn(layers)] == [1, 1, 1]

    def test_unfolded(self):
        assert len(self.drawn("  - 3 * conv(3, 1)\n", unfold=True)) == 3

    def test_repeats_within_repeats(self):
        outer = "  outer:\n    - mean:\n        x: 3 * two\n        y: identity\n"
        found = {
            tuple(times for _, times in path): len(box.copies)
            for box, path in places(diagram(network("  - 4 * outer\n", TWO + outer)).parts)
        }
        assert found[4, 1, 3, 1, 2] == 24

    def test_what_follows_a_layer_is_in_its_box(self):
        layers = (
            "  - conv(4, 3) | batchnorm | relu | dropout(0.5)\n  - relu6\n  - named: relu\n  - maxpool(2) | flatten\n"
        )
        assert self.drawn(layers) == [
            ("", 1, "conv 3×3, 4", "batchnorm · relu · dropout 0.5 · relu6"),
            ("named", 1, "relu"),
            ("", 1, "maxpool 2×2, /2 · flatten"),
        ]

    def test_what_others_read_too_has_a_box_of_its_own(self):
        layers = "  - a: conv(3, 1)\n  - relu\n  - add: {x: use(a), y: identity}\n"
        assert self.drawn(layers) == [("a", 1, "conv 1×1, 3"), ("", 1, "relu"), ("", 1, "add")]

    def test_an_identity_is_an_arrow_unless_it_is_the_result(self):
        picture = diagram(network("  - add: [identity, identity]\n"))
        assert [(edge.source, edge.target) for edge in picture.edges] == [(0, 1), (0, 1), (1, 2)]
        assert self.drawn("  - identity\n") == [("", 1, "identity")]
        assert len(self.drawn("  - add: [identity, identity]\n", everything=True)) == 3

    def test_a_block_of_one_box_is_that_box(self):
        assert self.drawn("  - a: conv(4, 1) | relu\n") == [("a", 1, "conv 1×1, 4 · relu")]


class TestDepth:
    def test_figures_of_collapsed_blocks_add_up(self):
        report = analyze(load("resnet50"))
        for depth in (1, 2):
            every = diagram(report, depth).boxes()
            figures = [int(line.split()[0].replace(",", "")) for box in every for line in box.figures]
            shown = [i for box in every if box.kind != "block" for copy in box.copies for i in copy]
            assert sum(figures[::2]) + sum(report.layers[i].params for i in shown) == report.totals.params
            assert sum(figures[1::2]) + sum(report.layers[i].macs for i in shown) == report.totals.macs

    def test_depth_one_has_no_clusters(self):
        picture = diagram(analyze(load("googlenet")), 1)
        assert not any(isinstance(part, Cluster) for part in picture.parts)
        assert picture.boxes()[7].text() == ["3a", "6 conv"]
        assert picture.boxes()[7].figures == ("163,696 params", "128,049,152 MACs")

    def test_a_collapsed_chain_lists_its_layers(self):
        bodies = [box for box in diagram(analyze(load("resnet50")), 3).boxes() if box.label == "body"]
        assert [box.lines[0] for box in bodies[1:3]] == [
            "conv 1×1, 64 · batchnorm · relu",
            "conv 1×1, 128, /2 · batchnorm · relu",
        ]
        assert bodies[0].lines == (
            "conv 1×1, 64 · batchnorm · relu",
            "conv 3×3, 64 · batchnorm · relu",
            "conv 1×1, 256 · batchnorm",
        )

    @pytest.mark.parametrize(
        "name", ["googlenet", "resnet50", "densenet121", "resnet18", "vgg16", "inception-v2", "inception-v3"]
    )
    def test_the_default_is_the_deepest_that_is_readable(self, name):
        report = analyze(load(name))
        sizes = {depth: len(list(boxes(diagram(report, depth).parts))) - 1 for depth in range(1, 6)}
        deepest = max(depth for depth, size in sizes.items() if size <= READABLE)
        default = diagram(report)
        assert sizes[deepest] <= len(default.boxes()) - 1 <= READABLE  # without the output
        assert max(len(path) for _, path in places(default.parts)) - 1 <= deepest  # frames in one another
        closed = [box for box in default.boxes() if box.kind == "block"]
        told = [note for note in default.notes if note.startswith(f"Blocks below depth {deepest} are one box")]
        assert bool(told) == bool(closed)

    @pytest.mark.parametrize(
        ("name", "opened"),
        [("googlenet", ["3a"]), ("torchvision/googlenet", ["3a"]), ("squeezenet1.0", ["fire2"])],
    )
    def test_the_first_of_alike_blocks_is_opened(self, name, opened):
        report = analyze(load(name))
        picture = diagram(report)
        frames = [part for part in picture.parts if isinstance(part, Cluster)]
        assert [frame.label for frame in frames] == opened
        assert frames[0].parts[-1].lines[0] == "concat"
        assert not any(isinstance(part, Cluster) for part in diagram(report, 1).parts)

    def test_what_is_opened_are_branches_that_differ_in_more_than_numbers(self):
        """Not the plain chains c0 to c19, whose boxes say all, and not d, which is as a and b."""
        six = "  six:\n    - add:\n        old: identity\n        new: conv(3, 1) | relu | conv(3, 1)\n"
        lines = "  - a: two\n  - b: two\n  - c: six\n  - d: two\n"
        chains = "".join(f"  - c{i}:\n    - conv({3 + i % 2}, 1)\n    - conv(3, 1)\n" for i in range(20))
        picture = diagram(network(lines + chains, TWO + six))
        assert [part.label for part in picture.parts if isinstance(part, Cluster)] == ["a–b", "c"]
        assert "except the first of each kind" in picture.notes[0]

    def test_no_more_is_opened_than_stays_readable(self):
        branches = ", ".join(["'2 * conv(4, 1) | conv(3, 1)'"] * 6)
        lines = "".join(f"  - w{i}: wide\n  - relu\n" for i in range(READABLE // 2 - 3))
        picture = diagram(network(lines, f"  wide:\n    - concat: [{branches}]\n    - conv(3, 1)\n"))
        assert not any(isinstance(part, Cluster) for part in picture.parts)
        assert READABLE - 6 <= len(picture.boxes()) - 1 <= READABLE
        assert "but for" not in picture.notes[0]

    def test_repeats_of_several_lines_are_told_above_them(self):
        box = Box("", ("conv 3×3, 4", "batchnorm · relu"), (), "weighted", ((1,), (2,)), 2)
        assert box.text() == ["×2", "conv 3×3, 4", "batchnorm · relu"]
        assert box._replace(label="a").text() == ["a  ×2", "conv 3×3, 4", "batchnorm · relu"]
        assert box._replace(lines=("relu",)).text() == ["relu  ×2"]


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        (("conv", 64, 7, 2, 3), "conv 7×7, 64, /2"),
        (("conv", 64, (1, 7), (2, 1), 0, 2, 4), "conv 1×7, 64, /2×1, dilation 2, 4 groups"),
        (("conv", 2, 1, 1, 0, 1, 1, True, "zeros", ((0,), (1,))), "conv 1×1, 2, by table"),
        (("maxpool", 2), "maxpool 2×2, /2"),
        (("avgpool", 3, 1, 1), "avgpool 3×3"),
        (("adaptive_avgpool", 7), "adaptive_avgpool 7×7"),
        (("linear", 1000), "linear 1000"),
        (("dropout", 0.4), "dropout 0.4"),
        (("dropout", 0), "dropout"),
        (("lrn", 5), "lrn 5"),
        (("groupnorm", 32), "groupnorm 32 groups"),
        (("upsample", None, 2), "upsample ×2"),
        (("pad_shortcut", 32, 2), "pad_shortcut 32, /2"),
        (("pad_shortcut", 32), "pad_shortcut 32"),
        (("batchnorm",), "batchnorm"),
    ],
)
def test_operators_with_the_arguments_that_matter(operator, text):
    name, *arguments = operator
    assert operator_text(make(REGISTRY[name], arguments, {})) == text


def test_each_output_has_a_box_with_its_name():
    picture = diagram(network("- a: conv(4, 3)\n- outputs: {x: 'conv(2, 1)', output: 'conv(5, 1)'}\n"))
    ends = [index for index, box in enumerate(picture.boxes()) if box.kind == "end"]
    assert [picture.boxes()[index].label for index in ends] == ["input", "output x", "output"]
    assert [edge.text for edge in picture.edges if edge.target in ends] == ["2×6×6", "5×6×6"]


def test_boxes_are_in_the_order_they_run():
    every = diagram(analyze(load("inception-v3")), 99).boxes()
    starts = [box.copies[0][0] for box in every if box.copies[0]]
    assert all(one < other for one, other in pairwise(starts))
