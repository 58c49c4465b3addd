"""Shared by the tests of diagrams: networks, ways to draw them, and the arrows that a diagram must have."""

from functools import cache
from itertools import takewhile

from archcalc import analyze, load
from archcalc.render.diagrams.layout import Box, diagram

NETWORKS = [
    *("lenet5", "vgg16", "googlenet", "inception-v3", "resnet50", "resnet110", "densenet121", "fractalnet-20"),
    *("squeezenet-complex-bypass", "wrn-16-8", "blocks/dense-block", "blocks/fractal-block", "blocks/residual-preact"),
    *("transformer-base", "yolov3-tiny"),  # several inputs, and outputs
]
WAYS = {
    "default": {},
    "depth 1": {"depth": 1},
    "opened": {"depth": 99},
    "all": {"everything": True, "unfold": True},
}


@cache
def trained(name):
    """Return the report of a network of the zoo in training, with its side outputs."""
    return analyze(load(name), mode="train")


@cache
def drawn_as(name, way):
    return diagram(trained(name), **WAYS[way])


def places(parts, above=()):
    """Yield each box with its path: its clusters and itself, each with its number of repeats."""
    for number, part in enumerate(parts):
        path = (*above, (number, part.times))
        if isinstance(part, Box):
            yield part, path
        else:
            yield from places(part.parts, path)


def digits(copy, path):
    """Return the number of a box's copy within each of its clusters, and within its own repeats."""
    found = []
    for _, times in reversed(path):
        copy, digit = divmod(copy, times)
        found.append(digit)
    return found[::-1]


def wiring(report, picture):
    """Return the edges that a diagram of the graph must have, with shapes; check the copies that repeats represent."""
    graph = report.graph if report.mode == "train" else report.graph.without_sides()
    where = {}
    for index, (box, path) in enumerate(places(picture.parts)):
        for number, copy in enumerate(box.copies):
            where |= {i: (index, path, digits(number, path)) for i in copy}
    wanted = {}
    for i, node in enumerate(graph.nodes):
        for source in node.inputs if i in where else ():
            start = source
            while start not in where:
                (start,) = graph.nodes[start].inputs
            (one, path, repeat), (other, path_, repeat_) = where[start], where[i]
            same = list(takewhile(lambda pair: pair[0] == pair[1], zip(path, path_, strict=False)))
            differing = [level for level in range(len(same)) if repeat[level] != repeat_[level]]
            level = differing[0] + 1 if differing else len(same)
            if differing:  # from one repeat to the next, which ×5 represents
                assert repeat_[differing[0]] == repeat[differing[0]] + 1
            if differing or one != other:  # from the last repeat within to the first
                assert repeat[level:] == [times - 1 for _, times in path][level:]
                assert not any(repeat_[level:])
            if not differing and one != other:
                wanted.setdefault((one, other), []).append(graph.nodes[start].output)
    ends = graph.ends
    for index, i in enumerate(ends, len(picture.boxes()) - len(ends)):
        assert where[i][2] == [times - 1 for _, times in where[i][1]]  # of the last repeat
        wanted.setdefault((where[i][0], index), []).append(graph.nodes[i].output)
    return wanted
