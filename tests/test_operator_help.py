"""`archcalc ops NAME` says what the operator really does: no placeholder, no name that is not its own."""

import inspect
import re

import pytest
from support.operator_cases import CASES, made, shaped

from archcalc.ops import REGISTRY
from archcalc.render.tables.ops import FIGURES, operator_help

KINDS = {  # how each kind of arithmetic reads
    "mac": r"multiply-accumulates?",
    "add": r"additions?|sums?|differences|subtraction|bias",
    "mul": r"multiplications?|products?|square",
    "div": r"divisions?",
    "compare": r"comparisons?",
    "exp": r"powers? of e",
    "log": r"logarithms?",
    "sqrt": r"roots?",
    "pow": r"(the|a) power(?! of)",
    "tanh": r"tanh\b(?!,)",
    "erf": r"erf",
}
ACTIVATIONS = {
    "relu": "For each value a comparison.",
    "relu6": "For each value 2 comparisons.",
    "leaky_relu": "For each value a comparison and a multiplication.",
    "sigmoid": "For each value a power of e, an addition and a division.",
    "tanh": "For each value a tanh.",
    "scaled_tanh": "For each value 2 multiplications and a tanh.",
    "silu": "For each value a power of e, an addition, a division and a multiplication.",
    "hardsigmoid": "For each value an addition, 2 comparisons and a division.",
    "hardswish": "For each value an addition, 2 comparisons, a division and a multiplication.",
}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", "add(a, b, …, inplace=True)"),
        ("concat", "concat(a, b, …, axis='C')"),
        ("attention", "attention(a, b, …, num_heads, causal=False, kv_heads=None, dropout=0)"),
        ("linear", "linear(out_features, bias=True)"),
    ],
)
def test_calls_show_all_arguments(name, call):
    assert operator_help(name).title == call


def told(name):
    return {row["figure"]: row["text"] for row in operator_help(name).rows}


def kinds_of(name, rule="work"):
    """The kinds of arithmetic over all cases of an operator."""
    cases = [(x, dict(zip(REGISTRY[name].types, args, strict=False)) | more) for n, x, args, more in CASES if n == name]
    ops = [(made(name, x, (), keywords), shaped(x)) for x, keywords in cases]
    batch = () if rule == "work" else (2,)
    return {kind for op, x in ops for kind, count in getattr(op, rule)(x, op.output(x), *batch).items() if count}


@pytest.mark.parametrize("name", REGISTRY)
def test_the_arithmetic_is_told_kind_by_kind(name):
    text = told(name)["work"]
    assert {kind for kind, words in KINDS.items() if re.search(words, text)} == kinds_of(name), text


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("rule", ["training_work", "input_gradient", "weight_gradient"])
def test_the_arithmetic_of_training_is_told_kind_by_kind(name, rule):
    text = told(name)[rule.replace("_", " ")]
    if rule == "training_work" and text == "As at inference.":
        assert kinds_of(name, rule) == kinds_of(name)
        return
    words = text.rpartition(": ")[2] if name in ACTIVATIONS else text  # without the formula
    assert {kind for kind, pattern in KINDS.items() if re.search(pattern, words)} == kinds_of(name, rule), text


def test_paragraphs_are_no_lines_of_the_code():
    """A docstring is as wide as the code, and a terminal may be narrower."""
    broken = {name: text for name in REGISTRY for text in told(name).values() if re.search("[^\n]\n[^\n]", text)}
    assert broken == {}
    assert told("conv")[""].count("\n\n") == 1
    assert re.search("[^\n]\n[^\n]", inspect.getdoc(REGISTRY["conv"]))


@pytest.mark.parametrize("name", REGISTRY)
def test_no_exception_of_ours_is_named(name):
    assert "Refusal" not in "".join(told(name).values())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    assert told(name)["work"] == ACTIVATIONS[name]


@pytest.mark.parametrize("name", REGISTRY)
def test_no_placeholder_remains(name):
    """What stands in backquotes is the operator's own argument or tensor."""
    own = {*REGISTRY[name].types, "weight", "bias"}
    for figure in FIGURES:
        text = told(name)[figure.replace("_", " ")]
        assert text
        assert set(re.findall(r"`(\w+)`", text)) <= own, text
        assert not re.search("target|per_value|an `inplace` argument|as the derivative needs", text), text
        assert ("in place" in text) <= ("inplace" in own or name in {"add", "dropout"}), text


@pytest.mark.parametrize(
    ("name", "figure", "text"),
    [
        ("sigmoid", "saved", "The result."),
        ("gelu", "saved", "The input."),
        ("leaky_relu", "saved", "The input; in place the result."),
        ("silu", "saved", "The input; in place a copy of it."),
        ("sigmoid", "writes", "The output."),
        ("relu", "writes", "The output; nothing where it works in place."),
        ("global_avgpool", "output", "(channels, 1, 1)."),
        ("adaptive_avgpool", "output", "(channels, *output_size)."),
        ("global_avgpool", "saved", "Nothing."),
        ("adaptive_avgpool", "saved", "The input; nothing if output_size is 1, since the mean is over everything."),
    ],
)
def test_what_differs_between_kin(name, figure, text):
    assert told(name)[figure] == text
