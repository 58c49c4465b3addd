"""The operators' arithmetic: on NumPy columns, as formulas, complete, and on checked arguments only."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.operator_strategies import WRITTEN, Case, build, cases, examples

from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.cost import Conditions, run_of
from archcalc.analysis.figures import rule, summed
from archcalc.errors import ArgumentError, Refusal
from archcalc.graph.graph import Node
from archcalc.ops import FAMILIES, KINDS, REGISTRY, Operator, make, signature
from archcalc.ops.arguments import PER_AXIS, RULES, read
from archcalc.ops.base import operator
from archcalc.ops.formula import traced
from archcalc.ops.reads import Reads, Rearranged, Whole
from archcalc.ops.registry import Registry
from archcalc.ops.shape import Features

COLUMN = 50
FIGURES = ("output", "weights", "buffers", "work", "writes", "saved", "window")


def figures(op: Operator, x: Any) -> dict[str, Any]:
    y = op.output(x)
    return {
        "output": y, "weights": op.weights(x), "buffers": op.buffers(x), "work": op.work(x, y), "saved": op.saved(x, y),
        "links": op.links(x, y), "writes": op.writes(x, y, training=False), "trained": op.writes(x, y, training=True),
    }  # fmt: skip


# dimensions as columns


def scaled(x: Any, factor: int, taller: int, wider: int, joins: bool) -> Any:
    """The shape with more channels and places; in a join, what is 1 stays 1, for it may be a gate."""
    if joins:
        return tuple(scaled(shape, factor, taller, wider, joins=False) for shape in x) if factor else x
    more = (0, taller, wider, 0)
    return type(x)(d * factor if axis == 0 else d if d == 1 else d + more[axis] for axis, d in enumerate(x))


def columns(case: Case, seed: int, varied: set[int]) -> list[Any]:
    """`COLUMN` shapes near the case's that the operator takes, varied along some axes."""
    random = np.random.default_rng(seed)
    shapes = []
    for _ in range(COLUMN):
        factor, taller, wider = random.integers(1, 4), *random.integers(0, 200, 2)
        x = scaled(
            case.x, int(factor) if 0 in varied else 1, int(taller) if 1 in varied else 0,
            int(wider) if 2 in varied else 0, case.op.joins,
        )  # fmt: skip
        shapes.append(x if takes(case.op, x) else case.x)
    return shapes


def takes(op: Operator, x: Any) -> bool:
    try:
        op.output(x)
    except ValueError:
        return False
    return True


def stacked(shapes: list[Any]) -> Any:
    """Shapes as one shape of columns; what never varies stays an integer."""
    if isinstance(shapes[0], tuple):
        return type(shapes[0])(stacked(list(items)) for items in zip(*shapes, strict=True))
    return shapes[0] if len(set(shapes)) == 1 else np.array(shapes, np.int64)


def row(value: Any, index: int) -> Any:
    """One element of every column in a nest of tuples and dictionaries."""
    if isinstance(value, np.ndarray):
        assert value.dtype == np.int64
        return int(value[index])
    if isinstance(value, Mapping):
        return {key: row(item, index) for key, item in value.items()}
    if isinstance(value, tuple):
        items = [row(item, index) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data(), seed=st.integers(0, 2**32), varied=st.sets(st.integers(0, 2), min_size=1))
@examples(15)
def test_columns_of_dimensions(name: str, data: st.DataObject, seed: int, varied: set[int]) -> None:
    case = data.draw(cases(name).filter(certain))
    shapes = columns(case, seed, varied)
    many = figures(case.op, stacked(shapes))
    for index, x in enumerate(shapes):
        assert row(many, index) == figures(case.op, x)


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data(), seed=st.integers(0, 2**32))
@examples(10)
def test_columns_of_batches(name: str, data: st.DataObject, seed: int) -> None:
    case = data.draw(cases(name).filter(certain))
    shapes = columns(case, seed, {0, 1, 2})
    batches = np.random.default_rng(seed).integers(1, 1024, COLUMN)
    many = priced(case.op, stacked(shapes), batches)
    for index, x in enumerate(shapes):
        assert row(many, index) == priced(case.op, x, int(batches[index]))


def certain(case: Case) -> bool:
    """Whether what backward keeps does not depend on the lengths, as a copy with TensorFlow's padding does."""
    return getattr(case.op, "padding", 0) != "SAME"


def test_a_copy_that_only_some_lengths_need_is_not_guessed() -> None:
    op, x, y = build("conv", (3, np.array([8, 9]), 9), 4, 3, 2, "SAME")
    assert y.lengths[0].tolist() == [4, 5]
    with pytest.raises(NotImplementedError, match="differs between the sizes"):
        op.saved(x, y)
    op, x, y = build("conv", (3, np.array([7, 9]), 9), 4, 3, 2, "SAME")
    assert op.saved(x, y).extras == ()


def priced(op: Operator, x: Any, batch: Any) -> dict[str, Any]:
    node = Node("layer", op, (0,), x, op.output(x), None, side=False)
    run = run_of(node, Conditions(batch, 4, True, CONVENTIONS["all"]))
    return {key: rule(key)(run) for key in summed()}


def test_columns_vary() -> None:
    case = build("conv", (3, 9, 9), 8, 3)
    many = figures(case.op, stacked(columns(case, 1, {0, 1, 2})))
    assert len(set(many["work"]["mac"].tolist())) == COLUMN


def test_one_misfit_in_a_column_is_refused() -> None:
    tall = np.array([5, 4, 2, 9])
    for name, args in [("conv", (8, 3)), ("maxpool", (3,)), ("avgpool", (3,)), ("subsample", (3,))]:
        with pytest.raises(ValueError, match="larger"):
            build(name, (4, tall, 9), *args)
    with pytest.raises(ValueError, match="groups"):
        build("conv", (np.array([4, 6, 8]), 9, 9), 8, 3, groups=4)
    with pytest.raises(ValueError, match="differ"):
        build("add", ((4, tall, 9), (4, tall + (tall == 9), 9)))


# formulas


def evaluated(text: str) -> int:
    assert set(text) <= set("0123456789+−·/⌊⌋() "), text
    return int(eval(text.translate(str.maketrans({"·": "*", "−": "-", "/": "//", "⌊": "(", "⌋": ")"}))))


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(40)
def test_formulas_evaluate_to_the_figures(name: str, data: st.DataObject) -> None:
    op, x, y = data.draw(cases(name))
    expected = {name: math.prod(shape) for name, shape in op.weights(x).items()} | op.work(x, y)
    assert {key: evaluated(text) for key, text in op.formula(x, y).items()} == expected


def test_formulas_read_as_people_write_them() -> None:
    op, x, y = build("conv", (64, 56, 56), 128, 3, padding=1)
    assert op.formula(x, y) == {
        "weight": "(3·3·64)·128", "bias": "128", "mac": "128·56·56·(3·3·64)", "add": "128·56·56",
    }  # fmt: skip
    assert [size.text for size in op.traced().output(traced(x))] == ["128", *["⌊(56 + 2·1 − 3)/1⌋ + 1"] * 2]
    op, x, y = build("conv", (64, 56, 56), 128, 3, 2, dilation=2, groups=4)
    assert op.formula(x, y)["mac"] == "128·26·26·(3·3·(64/4))"
    assert op.traced().output(traced(x))[1].text == "⌊(56 + 2·0 − (2·(3 − 1) + 1))/2⌋ + 1"
    op, x, y = build("linear", (4096,), 1000)
    assert op.formula(x, y) == {"weight": "4096·1000", "bias": "1000", "mac": "4096·1000", "add": "1000"}
    op, x, y = build("avgpool", (8, 6, 6), 2)
    assert op.formula(x, y) == {"add": "8·3·3·(2·2 − 1)", "div": "8·3·3"}


# completeness


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(10)
def test_every_operator_has_every_rule(name: str, data: st.DataObject) -> None:
    op, x, y = data.draw(cases(name))
    known = figures(op, x)
    assert set(known["work"]) <= set(KINDS)
    assert all(count >= 0 for count in known["work"].values())
    assert set(known["saved"].state) <= {*known["weights"], *known["buffers"]}
    assert known["writes"] in {0, math.prod(y)}
    assert known["links"] > 0 if op.weighted else known["links"] == 0
    assert all(isinstance(axis, Reads | Whole | Rearranged) for axis in op.window(x))
    assert op.pytorch(x)


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("figure", FIGURES)
def test_no_rule_is_the_base_class(name: str, figure: str) -> None:
    assert getattr(REGISTRY[name], figure) is not getattr(Operator, figure)


X = Features((3,))
LACKING = {
    "output shape": lambda op: op.output(X),
    "weights": lambda op: op.weights(X),
    "buffers": lambda op: op.buffers(X),
    "work": lambda op: op.work(X, X),
    "written values": lambda op: op.writes(X, X, training=False),
    "saved tensors": lambda op: op.saved(X, X),
    "window": lambda op: op.window(X),
    "connections": lambda op: op.links(X, X),
    "PyTorch module": lambda op: op.pytorch(X),
}


class Lacking(Operator):
    name = "lacking"
    weighted = True


@pytest.mark.parametrize("figure", LACKING)
def test_a_missing_rule_names_operator_and_figure(figure: str) -> None:
    with pytest.raises(NotImplementedError, match=f"^operator lacking has no rule for its {figure}$"):
        LACKING[figure](Lacking())


def test_arithmetic_that_depends_on_the_batch_is_not_guessed() -> None:
    op, x, y = build("batchnorm", (3, 4, 4), track_running_stats=False)
    with pytest.raises(NotImplementedError, match="without running statistics the work for one image is not defined"):
        op.work(x, y)


def test_registering_names_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: dict[str, type[Operator]] = {}
    monkeypatch.setattr("archcalc.ops.base.REGISTRY", registry)
    cls = operator("invented")(type("Invented", (Operator,), {}))
    assert registry == {"invented": cls}
    assert cls.name == "invented"


OPS = Path(operator.__code__.co_filename).parent


def test_each_file_registers_what_its_family_lists() -> None:
    files = {
        path.stem: re.findall(r'^@operator\("(\w+)"\)', path.read_text(), re.MULTILINE) for path in OPS.glob("*.py")
    }
    assert {family: tuple(names) for family, names in files.items() if names} == FAMILIES
    assert {name: REGISTRY[name].__module__ for name in REGISTRY} == {
        name: f"archcalc.ops.{family}" for family, names in FAMILIES.items() for name in names
    }


def test_a_name_that_no_file_registers_is_a_fault() -> None:
    registry = Registry[type[Operator]]()
    registry.declare({"archcalc.ops.gated": ["glu", "lacking"]})
    assert list(registry) == ["glu", "lacking"]
    with pytest.raises(AssertionError, match=r"archcalc\.ops\.gated has no lacking"):
        registry["lacking"]
    registry["own"] = Lacking
    assert registry["own"] is Lacking
    assert "own" in registry
    del registry["own"]
    assert "own" not in registry
    assert len(registry) == 2


# arguments

GOOD: dict[str, list[tuple[object, object]]] = {
    "Positive": [(1, 1), (10**9, 10**9)],
    "Index": [(0, 0), (7, 7)],
    "Real": [(0, 0), (-1.5, -1.5)],
    "PositiveReal": [(1e-5, 1e-5), (2, 2)],
    "Probability": [(0, 0), (1, 1), (0.5, 0.5)],
    "Flag": [(True, True), (False, False)],
    "Sides": [(3, (3, 3)), ((1, 7), (1, 7))],
    "Size": [(3, (3, 3)), ((1, 7), (1, 7)), ((3,), (3, 3))],
    "Margin": [(0, (0, 0)), ((0, 2), (0, 2)), ((1,), (1, 1))],
    "Padding": [
        (0, (0, 0)),
        ((1, 2), (1, 2)),
        ((1,), (1, 1)),
        *((word, word) for word in ("same", "SAME", "causal")),
        (((1, 2), (0, 3)), ((1, 2), (0, 3))),
        (((1, 2),), ((1, 2), (1, 2))),
    ],
    "Borders": [(-1, (-1, -1)), ((1, -2), (1, -2)), (((1, -2), (0, 3)), ((1, -2), (0, 3)))],
    "Shifts": [(-1, (-1, -1)), ((1, -2), (1, -2)), ((3,), (3, 3))],
    "Scales": [(1.5, (1.5, 1.5)), ((2, 0.5), (2, 0.5))],
    "Dimension": [(1, 1), (-1, -1)],
    "Place": [(0, 0), (-3, -3)],
    "Letters": [("C", "C"), ("DHWC", "DHWC")],
    "PaddingMode": [(mode, mode) for mode in ("zeros", "reflect", "replicate", "circular")],
    "Border": [(mode, mode) for mode in ("constant", "reflect", "replicate", "circular")],
    "Connections": [(((0, 1), (2,)), ((0, 1), (2,)))],
    "Extent": [(5, (5,)), ((3, 2, 1), (3, 2, 1))],
    "Interpolation": [("nearest", "nearest"), ("nearest-exact", "nearest-exact"), ("bilinear", "bilinear")],
    "Nonlinearity": [("tanh", "tanh"), ("relu", "relu")],
    "Approximation": [("none", "none"), ("tanh", "tanh")],
}

NOT_WHOLE: tuple[object, ...] = (True, 1.0, 1.5, "3", None, -1, math.nan)
NO_PAIR: tuple[object, ...] = (
    *NOT_WHOLE, (), (1.0,), ((1,),), (1, 2, 3), (1, -1), (1, 2.0), ("1", "2"), ((1, 2), (3, 4)),
)  # fmt: skip
BAD: dict[str, tuple[object, ...]] = {
    "Positive": (*NOT_WHOLE, 0, (1, 2)),
    "Index": (*NOT_WHOLE, (1, 2)),
    "Real": (True, "1", None, (1.0,)),
    "PositiveReal": (True, "1", None, 0, -0.1, math.nan),
    "Probability": (True, "1", None, -0.1, 1.1, 2, math.nan, math.inf),
    "Flag": (0, 1, "True", None, (True,)),
    "Sides": (*NO_PAIR, 0, (0, 1), (True, 1), (1,)),
    "Size": (*NO_PAIR, 0, (0, 1), (True, 1), (0,)),
    "Margin": (*NO_PAIR, (True, 1)),
    "Padding": (*NO_PAIR[:-1], "valid", "Same", ("same", 1), ((1, 2), 3), ((1, 2, 3), (1, 2, 3)), ((1, -1),)),
    "Borders": (True, 1.0, "3", None, math.nan, (), ((1,),), (1, 2, 3), ((1, 2), 3), ((1, 2),) * 3),
    "Shifts": (True, 1.0, "3", None, math.nan, (), ((1,),), (1, 2, 3)),
    "Scales": (True, "3", None, math.nan, 0, -1, (), (3,), ((1,),), (1, 2, 3), (1, 0)),
    "Dimension": (*NOT_WHOLE[:-2], 0, -2, (1,)),
    "Place": (True, 1.0, 1.5, "3", None, math.nan, (1,)),
    "Letters": ("", "CHWDL", 1, None, ("C",)),
    "PaddingMode": ("constant", "same", 0, None),
    "Border": ("zeros", "edge", 0, None),
    "Connections": (0, "table", None, (), ((),), (0, 1), ((0, 0),), ((-1,),), ((0.0,),), ((True,),), (("0",),)),
    "Extent": (*NOT_WHOLE, 0, (), (3, 0), (3, 2.0), (3, True), ((3,),)),
    "Interpolation": ("cubic", "area", "Nearest", "", 1, None, ("nearest",)),
    "Nonlinearity": ("sigmoid", "Tanh", None, 0),
    "Approximation": ("erf", True, None, 0),
}


def test_every_kind_of_argument_is_tested() -> None:
    assert set(GOOD) == set(BAD) == {*RULES, *PER_AXIS}
    used = {own.partition(" | ")[0] for cls in REGISTRY.values() for own in cls.types.values()}
    assert used == {*RULES, *PER_AXIS}


@pytest.mark.parametrize(("kind", "value", "kept"), [(kind, *pair) for kind, pairs in GOOD.items() for pair in pairs])
def test_good_arguments(kind: str, value: object, kept: object) -> None:
    assert read(kind, value) == read(f"{kind} | None", value) == kept
    assert read(f"{kind} | None", None) is None


PER = [("Sides", (3,), (3,)), ("Size", 2, (2, 2, 2)), ("Margin", (0, 1, 2), (0, 1, 2)), ("Padding", 1, (1,))]
PER += [("Borders", -1, (-1,)), ("Shifts", (0, -1, 2), (0, -1, 2)), ("Scales", 1.5, (1.5, 1.5, 1.5))]


@pytest.mark.parametrize(("kind", "value", "kept"), PER)
def test_arguments_on_a_line_and_in_a_volume(kind: str, value: object, kept: tuple[int, ...]) -> None:
    assert read(kind, value, len(kept)) == kept
    for wrong, axes in (((1, 1), 1), ((1, 1), 3), ((1, 1, 1, 1), 3)):
        with pytest.raises(
            Refusal, match=r"needs (one number or|a pair .* for each of) \[(length|depth, height, width)\]"
        ):
            read(kind, wrong, axes)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, wrong in BAD.items() for value in wrong], ids=repr)
def test_bad_arguments(kind: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"needs|twice"):
        read(kind, value)


def fields_of(kind: str) -> list[tuple[str, str]]:
    return [(name, key) for name, cls in REGISTRY.items() for key, own in cls.types.items() if own == kind]


@pytest.mark.parametrize(("kind", "name", "argument"), [(k, *field) for k in BAD for field in fields_of(k)])
def test_a_bad_argument_is_named(kind: str, name: str, argument: str) -> None:
    position = [*REGISTRY[name].types].index(argument)
    for value in BAD[kind]:
        with pytest.raises(ArgumentError, match=f"^{argument} (needs|names)") as caught:
            make(REGISTRY[name], (), {argument: value})
        assert caught.value.argument == argument
        if position == 0:
            with pytest.raises(ArgumentError, match=f"^{argument} ") as caught:
                make(REGISTRY[name], (value,), {})
            assert caught.value.argument == 0


@pytest.mark.parametrize(
    ("args", "keywords", "message", "argument"),
    [
        ((8,), {}, r"lacks kernel_size: conv\(out_channels, kernel_size, stride=1, padding=0", None),
        ((), {}, r"lacks out_channels and kernel_size: conv\(", None),
        ((8, 3), {"strid": 2}, r"has no argument 'strid'; did you mean stride\?", "strid"),
        ((8, 3), {"in_place": True}, "has no argument 'in_place'", "in_place"),
        ((8, 3), {"kernel_size": 3}, "gets kernel_size twice", "kernel_size"),
        ((8, 3, 1, 0, 1, 1, True, "zeros", None, 9), {}, "takes at most 9 arguments: conv", 9),
        ((8, 3.5), {}, r"kernel_size needs a whole number, not 3.5; // divides and rounds down", 1),
        ((8, "3"), {}, r"kernel_size needs a whole number, not '3'", 1),
        ((8, (1, 2, 3)), {}, r"kernel_size needs one number or \[height, width\], not \[1, 2, 3\]", 1),
        ((8, 3, 0), {}, "stride needs a whole number of at least 1, not 0", 2),
        ((8, 3), {"padding": "valid"}, r"padding needs a number, \[height, width\] or 'same', not 'valid'", "padding"),
    ],
)
def test_messages(args: Any, keywords: Any, message: str, argument: Any) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        make(REGISTRY["conv"], args, keywords)
    assert caught.value.argument == argument


def test_long_values_are_shortened() -> None:
    with pytest.raises(ArgumentError) as caught:
        make(REGISTRY["conv"], (8, tuple(range(10**5))), {})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("name", REGISTRY)
def test_signatures_and_docstrings(name: str) -> None:
    cls = REGISTRY[name]
    assert signature(cls).startswith(f"{name}(")
    for member in (cls, *(getattr(cls, figure) for figure in FIGURES)):
        assert inspect.getdoc(member)


@pytest.mark.parametrize(
    ("args", "keywords"),
    [((), {}), ((8,), {}), ((8,), {"kernel": 3}), ((8, 3, *"abcdefgh"), {}), ((), {"kernel_size": 3})],
)
def test_an_operator_needs_its_arguments(args: tuple[object, ...], keywords: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"conv\(out_channels, kernel_size, stride=1"):
        REGISTRY["conv"](*args, **keywords)


def test_an_operator_with_other_arguments() -> None:
    own = REGISTRY["conv"](8, (3, 3), padding=(1, 1))
    other = own.but(padding=(0, 0))
    assert other == REGISTRY["conv"](8, (3, 3))
    assert own.but() == own != other
    assert list(vars(other)) == [*own.types]
