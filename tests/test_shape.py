"""Shapes with named axes, and that only `archcalc/ops/shape.py` knows where an axis is."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archcalc.errors import Refusal
from archcalc.ops.formula import Term
from archcalc.ops.shape import (
    Features,
    Ids,
    Map,
    Shape,
    Tokens,
    axes_last,
    axes_of,
    keeps_order,
    permuted,
    positions,
    shape_of,
)

PACKAGE = Path(__file__).parent.parent / "archcalc"
KINDS = {
    "C": (Features((7,)), 7, ()),
    "CL": (Map((64, 16000)), 64, (16000,)),
    "CHW": (Map((3, 224, 112)), 3, (224, 112)),
    "CDHW": (Map((3, 16, 112, 56)), 3, (16, 112, 56)),
    "TC": (Tokens((128, 768)), 768, (128,)),
    "HWC": (Tokens((14, 7, 768)), 768, (14, 7)),
    "DHWC": (Tokens((4, 14, 7, 96)), 96, (4, 14, 7)),
}


@pytest.mark.parametrize("axes", KINDS)
def test_axes_by_name(axes: str) -> None:
    shape, channels, lengths = KINDS[axes]
    assert (shape.axes, shape.channels, shape.lengths) == (axes, channels, lengths)
    assert [shape.size(axis) for axis in axes] == [*shape]
    assert shape.size("X") is None
    assert [shape.dim(axis) for axis in axes] == [*range(1, len(axes) + 1)]
    assert shape.with_size(axes[-1], 5) == shape.with_last(5)
    assert shape.of(channels, lengths) == shape.with_lengths(lengths) == shape_of(tuple(shape), axes) == shape
    assert shape.with_channels(9) == shape.of(9, lengths)
    assert shape.with_last(5).last == 5
    assert shape.without_last(1) == tuple(shape)[:-1]


def test_a_shape_is_a_tuple_but_equals_no_shape_of_other_axes() -> None:
    assert Map((128, 768)) == (128, 768) == Tokens((128, 768))
    assert Map((128, 768)) != Tokens((128, 768))
    assert Features((3,)) != Ids((3,))
    assert {(128, 768): 1}[Map((128, 768))] == 1
    assert {Map((128, 768)): 1, Tokens((128, 768)): 2}[Tokens((128, 768))] == 2


@pytest.mark.parametrize("axes", KINDS)
def test_shapes_can_be_pickled(axes: str) -> None:
    copy = pickle.loads(pickle.dumps(KINDS[axes][0]))
    assert copy == KINDS[axes][0]
    assert type(copy) is type(KINDS[axes][0])


def test_sizes_may_be_arrays_or_terms() -> None:
    sides = np.array([3, 1])
    assert Map((4, sides, sides)).lengths[0] is sides
    assert not Map((4, sides, sides)).single
    assert Map((4, sides * 0 + 1, 1)).single
    assert Map((Term(4), Term(5), Term(6))).channels.text == "4"


def test_text_names_the_axes_that_are_not_usual() -> None:
    texts = [shape.text for shape, *_ in KINDS.values()]
    first = ["7", "64×16000 (C×L)", "3×224×112", "3×16×112×56 (C×D×H×W)"]
    assert texts == [*first, "128×768 (T×C)", "14×7×768 (H×W×C)", "4×14×7×96 (D×H×W×C)"]


def test_sizes_without_axes() -> None:
    assert [shape_of((2,) * count).axes for count in (1, 2, 3, 4)] == ["C", "CL", "CHW", "CDHW"]
    for count in (0, 5):
        with pytest.raises(Refusal, match=f"one to four sizes, not {count}"):
            shape_of((2,) * count)


def test_axes_in_any_order() -> None:
    assert axes_of(["W", "C", "H"]) == "CHW"
    assert axes_of(["C", "T"]) == "TC"
    assert axes_of("HWC") == "CHW"  # channels first, as PyTorch's layers of images
    assert (axes_last("CHW"), axes_last("CL"), axes_last("C")) == ("HWC", "CL", "C")
    with pytest.raises(Refusal, match="has no axis 'N'; the axes are C"):
        axes_of(["N", "C"])
    with pytest.raises(Refusal, match="cannot have the axes C, H together"):
        axes_of(["C", "H"])


def test_another_order_of_the_axes() -> None:
    assert permuted(Map((3, 5, 4)), "HWC") == Tokens((5, 4, 3))
    assert permuted(Tokens((5, 4, 3)), "CHW") == Map((3, 5, 4))
    with pytest.raises(Refusal, match=r"permute takes 3×5×4 \(C×H×W\) to 'CHW' or 'HWC', not 'HCW'"):
        permuted(Map((3, 5, 4)), "HCW")


def test_only_axes_with_several_places_change_the_order_in_memory() -> None:
    assert not keeps_order(Map((3, 5, 4)), (2, 3, 1))
    assert keeps_order(Map((3, 1, 1)), (2, 3, 1))
    assert keeps_order(Map((1, 5, 4)), (2, 3, 1))


@pytest.mark.parametrize(
    ("x", "counts", "message"),
    [
        (
            Features((128,)),
            (),
            "conv accepts C×L, C×H×W or C×D×H×W, not 128 features; "
            "a line of them is input: {C: 1, L: 128}, or reshape(C=1, L=128) before it",
        ),
        (Tokens((128, 768)), (), "conv accepts C×L, C×H×W or C×D×H×W, not 128×768 (T×C); write transpose before it"),
        (Tokens((128, 768)), (2,), "conv accepts C×H×W, not 128×768 (T×C)"),
        (Map((3, 16, 9, 9)), (2,), "conv accepts C×H×W, not 3×16×9×9 (C×D×H×W)"),
    ],
)
def test_an_operator_says_which_axes_it_accepts(x: Shape, counts: Any, message: str) -> None:
    with pytest.raises(Refusal) as error:
        positions(x, "conv", *counts)
    assert str(error.value) == message


# only one file indexes a shape

TENSORS = (  # where `x` is a tensor
    "pytorch/layers.py",
    "pytorch/layout_layers.py",
    "pytorch/window_layers.py",
    "pytorch/measure.py",
    "pytorch/meta_kernels.py",
    "auditing/paper.py",  # or sizes that a table states
)
SEVERAL = (
    "ops/joins.py",
    "ops/slicing.py",
    "ops/base.py",
    "ops/attention.py",
    "ops/composite.py",
    "ops/products.py",
    "ops/imported.py",
    "analysis/tool_rules.py",
)  # where `x` may be a tuple of shapes, those of the inputs of a join


def is_shape(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else "." + node.attr if isinstance(node, ast.Attribute) else ""
    return name in {"x", "y", "shape", ".x", ".output", ".input"}


def indexed(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that take a size out of a shape by its position, or count its axes."""
    for node in ast.walk(tree):
        taken = isinstance(node, ast.Subscript) and is_shape(node.value)
        counted = isinstance(node, ast.Call) and ast.unparse(node.func) == "len" and any(map(is_shape, node.args))
        unpacked = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and is_shape(node.value)
        if taken or counted or unpacked:
            yield node.lineno


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_indexes_a_shape(path: Path) -> None:
    own = path.relative_to(PACKAGE).as_posix()
    if own not in ("ops/shape.py", *TENSORS, *SEVERAL) and not own.startswith("importers/"):  # which have others' sizes
        assert not [*indexed(ast.parse(path.read_text()))]


@pytest.mark.parametrize(
    "code", ["a = x[0]", "a = y[1:]", "c, h, w = x", "len(node.x) == 3", "node.output[1]", "c, *size = graph.input"]
)
def test_the_rule_would_notice(code: str) -> None:
    assert [*indexed(ast.parse(code))] == [1]
