"""Formulas of symbols: exact wherever their conditions hold, and no further than that."""

import csv
import io
import random
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.operator_cases import CASES, made, shaped
from support.operator_strategies import WRITTEN, cases, examples
from support.symbol_points import differences, evaluated, graph_at

from archcalc import analyze, load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.cost import Conditions, run_of
from archcalc.analysis.figures import rule
from archcalc.cli import cli
from archcalc.errors import ArchcalcError, Refusal
from archcalc.graph.graph import Node
from archcalc.ops.shape import Shape
from archcalc.ops.symbols import Example, Formula, NotSymbolic
from archcalc.symbolic import COUNTS, formulas_of

# arithmetic

expressions = st.recursive(
    st.sampled_from("ab") | st.integers(-9, 9).map(str),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda parts: f"({' '.join(parts)})")
        | st.tuples(inner, st.sampled_from(["//", "%"]), st.integers(1, 12).map(str)).map(
            lambda parts: f"({' '.join(parts)})"
        )
    ),
    max_leaves=12,
)


@given(expressions, st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=5))
def test_arithmetic_is_that_of_integers(text, points):
    example = Example({"a": 7, "b": 5})
    formula = eval(text, {}, {name: example.symbol(name) for name in "ab"})
    for a, b in points:
        values = {"a": a, "b": b}
        known = eval(text, {}, values)
        assert (formula.at(values) if isinstance(formula, Formula) else formula) == known
        assert evaluated(str(formula), values) == known
    assert not example.conditions


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("((a + 1) // 2 + 1) // 2", "⌊(a + 3)/4⌋"), ("(a - 1) // 2 + 1", "⌊(a + 1)/2⌋"), ("-(-a // 2)", "⌊(a + 1)/2⌋"),
        ("(6 * a + 4) // 4 - a", "⌊a/2⌋ + 1"), ("a * b - b * a", "0"), ("(a + b) * (a + b) * b", "b·(a² + 2·a·b + b²)"),
    ],
)  # fmt: skip
def test_one_form(text, written):
    example = Example({"a": 7, "b": 5})
    assert str(eval(text, {}, {name: example.symbol(name) for name in "ab"})) == written


def test_columns_evaluate_too():
    a = Example({"a": 7}).symbol("a")
    sizes = np.arange(1, 99)
    assert (((a + 3) // 4 * a).at({"a": sizes}) == (sizes + 3) // 4 * sizes).all()


def test_a_comparison_is_decided_at_the_example_and_noted():
    example = Example({"a": 7, "b": 5})
    a, b = example.symbol("a"), example.symbol("b")
    assert a >= 1
    assert not example.conditions  # a symbol is at least 1
    assert a > b
    assert [(str(formula), relation) for formula, relation in example.conditions] == [("a − b − 1", "≥")]
    assert (a // 2 == 3) is True
    assert len(example.conditions) == 2
    assert a // 2 == a // 2
    assert len(example.conditions) == 2


@pytest.mark.parametrize(
    "use",
    [
        range,
        int,
        float,
        lambda a: [1] * a,
        lambda a: a * 0.5,
        lambda a: a // (a + 1),
        lambda a: 2**a,
        lambda a: 8 / a,
        lambda a: a**a,
    ],
)
def test_what_needs_a_number_is_refused(use):
    with pytest.raises(NotSymbolic):
        use(Example({"a": 7}).symbol("a"))


# operators


def moved(shape, example):
    """A shape with a symbol for each size; a join's shapes share those of equal axes and sizes."""
    if not isinstance(shape, Shape):  # of a join, or of nothing
        return tuple(moved(part, example) for part in shape)
    names = [f"{axis}{size}" for axis, size in zip(shape.axes, shape, strict=True)]
    example.values |= dict(zip(names, shape, strict=True))
    return type(shape)(map(example.symbol, names))


def at(value, values):
    if isinstance(value, Formula):
        return value.at(values)
    if isinstance(value, dict):
        return {key: at(item, values) for key, item in value.items()}
    return type(value)(at(item, values) for item in value) if isinstance(value, tuple) else value


def figures(op, x, batch):
    node = Node("layer", op, (0,), x, op.output(x), None, side=False)
    run = run_of(node, Conditions(batch, 4, False, CONVENTIONS["all"]))
    return {"output": tuple(node.output)} | {key: rule(key)(run) for key in COUNTS}


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data(), seed=st.integers(0, 2**32))
@examples(15)
def test_operators_have_the_formulas_of_their_figures(name, data, seed):
    op, x, _ = data.draw(cases(name))
    example = Example({"batch": 2})
    try:
        found = figures(op, moved(x, example), example.symbol("batch"))
    except NotSymbolic:
        return
    drawn = random.Random(seed)
    for _ in range(8):
        values = {symbol: max(1, size + drawn.randint(-3, 3)) for symbol, size in example.values.items()}
        if all(condition.holds(values) for condition in example.conditions):
            numbers = at(moved(x, Example({})), values)
            assert at(found, values) == figures(op, numbers, values["batch"])


def test_few_operators_need_numbers():
    """Partner of the test above, which skips what is refused."""
    refused = {name for name, x, args, more in CASES if not taken(name, shaped(x), args, more)}
    assert refused == {"chunk", "upsample"}  # parts that are not equal, and a fraction as a scale


def taken(name, x, args, more):
    example = Example({"batch": 2})
    try:
        figures(made(name, x, args, more), moved(x, example), example.symbol("batch"))
    except NotSymbolic:
        return False
    return True


# networks

NETWORKS = {
    "resnet50": "size,batch", "vgg16": "height,width,classes", "unet": "height,width", "lenet5": "height,width",
    "googlenet": "height,width", "densenet121": "size,growth", "mobilenet-v1": "size,width", "alexnet": "size",
    "torchvision/swin_t": "in_height,in_width,batch", "vit-b-16": "size", "inception-v4": "size", "nin": "height",
    "fcn-8s": "height,width", "torchvision/vit_b_16": "height",
    "torchvision/vgg11": "height,width",
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_formulas_of_networks(name):
    wrong, tried = differences(name, NETWORKS[name].split(","), 4)
    assert wrong == []
    assert tried


@pytest.mark.slow
def test_resnet50_at_many_points():
    assert differences("resnet50", ["size", "batch"], 150) == ([], 150)


def test_a_wrong_formula_is_noticed(monkeypatch):
    monkeypatch.setattr("archcalc.ops.symbols.Quotient.at", lambda self, values: self.of.at(values) // self.number + 1)
    assert differences("resnet50", ["size"], 2)[0]


SPEC = """
name: small
input: [3, 32, 32]
params: {channels: 8, kernel: 3, blocks: 2, wide: False}
layers:
  - conv(channels, kernel, 2, 1) | relu
  - blocks * conv(channels, 3, padding=1)
  - conv(2 * channels, 1) if wide else conv(channels, 1)
  - adaptive_avgpool(5) | flatten | linear(10)
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SPEC)
    return str(path)


def test_where_the_formulas_hold(small):
    found = formulas_of(small, ["height"], {})
    assert found.limits == ["height from 1 on"]
    assert formulas_of("vgg16", ["height"], {}).limits == ["height from 32 on"]
    assert formulas_of("torchvision/swin_t", ["in_height"], {}).limits == [
        "in_height 128 to 131, 160 to 163, 192 to 195, 224 to 227"
    ]
    assert formulas_of("bert-base", ["tokens"], {}).limits == ["tokens 512"]


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "unet", "torchvision/swin_t"])
def test_outside_that_the_network_is_another(name):
    """The conditions are no wider than needed: next to them the network is refused, or its figures differ."""
    found = formulas_of(name, ["in_height"], {})
    inside = [n for n in range(1, 260) if found.holds({"in_height": n})]
    value = min(inside) - 1
    try:
        graph, _ = graph_at(found.graph, ["in_height"], {"in_height": value})
    except (ArchcalcError, Refusal):
        return
    assert analyze(graph).totals.macs != found.figures["macs"].at({"in_height": value})


def output(*arguments):
    result = CliRunner().invoke(cli, ["explain", *arguments])
    if isinstance(result.exception, ArchcalcError):
        raise result.exception
    return result.output


def test_the_command_prints_formulas():
    rows = csv.DictReader(io.StringIO(output("resnet50", "--symbolic", "size,batch", "--format", "csv")))
    rows = {row["name"]: (row["formula"], row["value"]) for row in rows}
    assert rows["params"] == ("25,557,032", "25557032")
    assert rows["MACs"] == (
        "batch·(9,408·size1² + 212,992·size2² + 1,212,416·size3² + 7,077,888·size4² + 14,942,208·size5² + 2,048,000)",
        "3857973248",
    )
    assert rows["where size2"] == ("⌊(size + 3)/4⌋", "56")
    assert "Exact for size from 1 on; batch from 1 on." in output("resnet50", "--symbolic", "size,batch")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg16", "--symbolic", "hight"], "vgg16 has no param or axis 'hight'; did you mean height"),
        (["lenet5", "--symbolic", "size,height"], "size and height are the same axis; name one of them"),
        (["resnet50", "--symbolic", "size,height"], "size is a size of the input of resnet50, as is height"),
        (["resnet50", "--symbolic", "size", "--input", "100"], "size is a size of the input of resnet50, as"),
        (["resnet50", "--symbolic", "size", "--convention", "thop"], "thop may need a number, all, torch"),
        (["resnet20", "--symbolic", "n"], "a count must be a whole number from 0 to 200,000, not n − 1"),
        (["resnet50", "--symbolic", "layout"], "param layout of resnet50 is imagenet, no whole number"),
        (["mobilenet-v1-0.5", "--symbolic", "width"], "param width of mobilenet-v1-0.5 is 0.5, no whole number"),
    ],
)
def test_what_cannot_be_a_symbol(arguments, message):
    with pytest.raises(ArchcalcError, match=re.escape(message)):
        output(*arguments)


def test_tools_count_symbols_too():
    text = output("vgg16", "--symbolic", "batch", "--convention", "thop")
    assert f"{analyze(load('vgg16'), flops='thop').totals.flops:,}·batch" in text


def test_what_a_tool_cannot_count_stays_unknown(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("name: gate\ninput: [3, 8, 8]\nlayers:\n  - sigmoid\n")
    found = formulas_of(str(path), ["batch"], {}, convention="convnet-burden")
    assert next(line for line in found.lines if line.key == "flops")[1:3] == ("", None)


def test_a_layer_that_needs_a_number_is_named(tmp_path):
    path = tmp_path / "parts.yaml"
    path.write_text(SPEC.replace("flatten", "chunk(3, 0) | flatten"))
    with pytest.raises(ArchcalcError, match=r"parts\.yaml:9:27: chunk: channels is a symbol where a number is needed"):
        formulas_of(str(path), ["channels"], {})


@pytest.mark.parametrize(("more", "message"), [(["stage3"], "omit the layer"), (["--dtype", "float16"], "omit it")])
def test_what_does_not_go_with_symbols(more, message):
    result = CliRunner().invoke(cli, ["explain", "vgg16", *more, "--symbolic", "size"])
    assert result.exit_code == 2
    assert message in result.output
