"""The expression language against Python's own arithmetic, its rules where it differs, and its bounds."""

import ast
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import SpecError
from archcalc.errors import Place, Source
from archcalc.ops.shape import Features, Map
from archcalc.spec.expression import constant, value_of
from archcalc.spec.functions import LIMIT, MAX_LEAVES, Budget, Fault, Names, Reference, leaves
from archcalc.spec.yaml import Scalar, parse_yaml

VALUES = {"a": 7, "b": 3, "c": 2.5, "d": (4, 8, 16), "t": True}


def scalar(text):
    return Scalar(text, Place(Source("<test>", text.split("\n")), 1, 1))


IMAGE = Map((64, 56, 28))


def names(shape=IMAGE, **more):
    made = Names(VALUES | more, {"relu": Reference("relu")}, Budget())
    made.shape = shape
    return made


def compute(text, **more):
    return value_of(scalar(text)).run(names(**more))


def message(text, **more):
    with pytest.raises(SpecError) as caught:
        compute(text, **more)
    return caught.value.message


def untupled(value):
    return [untupled(item) for item in value] if isinstance(value, tuple) else value


# Random expressions of the part in which both languages agree: no `/`, whose rule differs, and `and`/`or` on truth
# values only, where Python would hand on an operand.
NUMBERS = st.integers(0, 99).map(str) | st.floats(0, 99, allow_nan=False).map(lambda x: f"{x:.3f}")
ATOMS = NUMBERS | st.sampled_from(["a", "b", "c", "d[0]", "d[-1]", "len(d)", "sum(d)", "max(d)", "min(a, b)"])


def larger(inner):
    truth = st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), inner)
    both = st.builds("({} {} {})".format, truth, st.sampled_from(["and", "or"]), truth)
    truth = truth | both | st.builds("(not {})".format, truth)
    return (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner)
        | st.builds("({})**2".format, inner)
        | st.builds("(-{})".format, inner)
        | st.builds("({} if {} else {})".format, inner, truth, inner)
        | st.builds("max({}, {})".format, inner, inner)
        | st.builds("round({})".format, inner)
        | st.builds("abs({})".format, inner)
        | st.builds("sum([i * {} for i in range(4) if i != {}])".format, inner, inner)
        | st.builds("[{}, {}][1]".format, inner, inner)
    )


def python(text):
    """What Python makes of it; None where it fails or leaves the bounds at the end."""
    try:
        value = eval(text, {"a": 7, "b": 3, "c": 2.5, "d": [4, 8, 16]})  # our own text
    except (ArithmeticError, ValueError):
        return None
    return value if abs(value) < LIMIT and math.isfinite(value) else None


@given(st.recursive(ATOMS, larger, max_leaves=12))
def test_arithmetic_is_pythons(text):
    expected = python(text)
    try:
        value = compute(text)
    except SpecError as error:
        in_between = "beyond" in error.message or "finite" in error.message or "nested" in error.message
        assert expected is None or in_between
        return
    if expected is not None:
        assert value == expected
        assert type(value) is type(expected)


@given(st.integers(-(10**18), 10**18), st.integers(-(10**9), 10**9).filter(bool))
def test_division_is_exact_where_it_is_whole(left, right):
    value = compute("x / y", x=left, y=right)
    if left % right == 0:
        assert type(value) is int
        assert value * right == left
    else:
        assert value == left / right


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6 / 3", 2),
        ("7 / 2", 3.5),
        ("7 // 2", 3),
        ("6.0 / 3", 2.0),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("[64] * 3", [64, 64, 64]),
        ("3 * [64]", [64, 64, 64]),
        ("d[1:]", [8, 16]),
        ("d[::-1]", [16, 8, 4]),
        ("(1, 2)", [1, 2]),
        ("[i * j for i in range(3) for j in range(i) if j]", [2]),
        ("[x + y for x, y in zip(d, [1, 2, 3])]", [5, 10, 19]),
        ("[i * x for i, (x, y) in enumerate(zip(d, d))]", [0, 8, 32]),
        ("enumerate(d)", [[0, 4], [1, 8], [2, 16]]),
        ("range(2, 11, 4)", [2, 6, 10]),
        ("3 in [1, 2, 3]", True),
        ("3 not in [1, 2, 3]", False),
        ("1 < 2 < 3 > 2", True),
        ("1 < 3 < 2", False),
        ("a and b", True),
        ("0 or False", False),
        ("'same' if t else 'none'", "same"),
        ("None", None),
        ("int(7.9)", 7),
        ("round(2.5)", 2),
        ("round(2.345, 2)", round(2.345, 2)),
        ("in_channels + in_height + in_width", 148),
        ("in_channels if in_height == 2 * in_width else 0", 64),
        ("[in_channels for i in range(2)]", [64, 64]),
        ("relu == relu", True),
        ("  a\n  + b  ", 10),
        ("1_000", 1000),
        ("'a' 'b'", "ab"),
    ],
)
def test_value(text, expected):
    assert untupled(compute(text)) == expected


def test_types_of_whole_results():
    assert [type(compute(text)) for text in ("6 / 3", "2 ** 3", "7 // 2", "max(1, 2.0)")] == [int, int, int, float]


def test_a_name_may_be_an_operator():
    assert compute("relu") == Reference("relu")
    assert str(compute("relu")) == "relu"


def test_inner_names_hide_outer_ones():
    assert compute("[a for a in [1, 2]] + [a]") == (1, 2, 7)
    assert compute("[[in_channels for a in [a, a]] for a in [1]]") == ((64, 64),)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2**63", "beyond 2^63"),
        ("2.0**5000", "beyond bounds"),
        ("10**10**10", "beyond 2^63"),
        ("(-8) ** 0.5", "not a finite real number"),
        ("[1] * 100001", "100,000 values"),
        ("range(10**15)", "100,000 values"),
        ("range(5, 10**15)", "100,000 values"),
        ("round(1, 10**9)", "-20 to 20"),
        ("sum(['a'])", "needs numbers"),
        ("'a' * 3", "needs numbers"),
        ("True + True", "needs numbers"),
        ("int('3')", "needs numbers"),
        ("max([])", "needs at least one value"),
        ("max([1, 'a'])", "needs numbers, not 'a'"),
        ("1 < 'a'", "1 and 'a' have no order"),
        ("[1, 2] < [1, 'a']", "[1, 2] and [1, 'a'] have no order"),
        ("1 in 2", "needs a list, not 2"),
        ("1 + d", "needs a list, not 1"),
        ("d * 1.5", "needs whole numbers, not 1.5"),
        ("d[1.0]", "needs whole numbers, not 1.0"),
        ("1[0]", "1 is not a list"),
        ("1[0:1]", "needs a list, not 1"),
        ("d['a':]", "needs whole numbers, not 'a'"),
        ("range(1.5)", "needs whole numbers, not 1.5"),
        ("range(1, 5, 0)", "a step of 0"),
        ("range(0 - 2**62, 2**62)", "100,000 values"),
        ("round(1.5, 0.5)", "needs whole numbers, not 0.5"),
        ("enumerate(d, 'a')", "needs whole numbers, not 'a'"),
        ("zip(d, 3)", "needs a list, not 3"),
        ("abs(1, 2)", "abs does not take 2 arguments"),
        ("0.0 ** (0 - 1)", "division by zero"),
        ("d[0:0:0]", "a step of 0"),
        ("d[t]", "needs whole numbers, not True"),
        ("[i async for i in d]", "a loop needs a name for each item"),
        ("relu + 1", "needs numbers, not relu"),
        ("d.count", "an attribute"),
        ("(yield)", "yield is not part"),
        ("await_", "unknown name await_"),
    ],
)
def test_refused(text, part):
    assert part in message(text)


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "//", "%", "**"])
@pytest.mark.parametrize("truth", ["True", "False"])
@pytest.mark.parametrize("other", ["1", "2.5", "[1]", "True"])
def test_truth_values_are_no_numbers(sign, truth, other):
    for text in (f"{truth} {sign} {other}", f"{other} {sign} {truth}"):
        assert re.search("needs (a list|(whole )?numbers), not", message(text)), text


def test_dimension_of_a_vector():
    with pytest.raises(SpecError, match="the input here has 1 dimension"):
        value_of(scalar("in_height")).run(names(shape=Features((10,))))


def test_numbers_stop_at_two_to_the_63():
    assert compute("2**62 + (2**62 - 1)") == LIMIT - 1
    assert "beyond" in message("2**62 + 2**62")


def test_budget_is_one_for_all_expressions_of_a_network():
    scope = Names({}, {}, Budget(100))
    value_of(scalar("range(60)")).run(scope)
    with pytest.raises(SpecError, match="steps"):
        value_of(scalar("range(60)")).run(scope)


def test_leaves_counts_inner_lists_and_stops_early():
    assert leaves(((1, 2), 3)) == 5
    shared = (1,)
    for _ in range(40):
        shared = (shared, shared)
    with pytest.raises(Fault, match="values"):
        leaves(shared)
    deep = ()
    for _ in range(60):
        deep = (deep,)
    with pytest.raises(Fault, match="deep"):
        leaves(deep)
    assert MAX_LEAVES == 100_000


def test_yaml_lists_are_lists_of_expressions():
    value = value_of(parse_yaml("[a, [b, 2 * c], 'sum(d)', \"'text'\"]"))
    assert untupled(value.run(names())) == [7, [3, 5.0], 28, "text"]


def test_a_compiled_expression_keeps_its_tree_and_place():
    value = value_of(parse_yaml("[8, a + b]"))
    assert ast.unparse(value.tree) == "[8, a + b]"
    assert (value.place.line, value.place.column) == (1, 1)
    other = constant((3, (224, 0.5)), value.place)
    assert (ast.unparse(other.tree), other.run(names())) == ("(3, (224, 0.5))", (3, (224, 0.5)))


def test_mentions_are_remembered():
    seen = set()
    value_of(parse_yaml("[a + b, 'max(c, x)']"), seen)
    assert seen == {"a", "b", "c", "x"}


@pytest.mark.parametrize(
    ("text", "line", "column", "width"),
    [
        ("[1, nope]", 1, 5, 4),
        ("'1 + nope'", 1, 6, 4),
        ('"1 +\n  nope"', 2, 3, 4),
        (">\n  1 +\n  nope\n", 3, 3, 4),
        ("|-\n    1 + (2 *\n      nope)\n", 3, 7, 4),
        ("1\n  + nope", 2, 5, 4),
        ('"\\x31 + nope"', 1, 6, 4),
    ],
)
def test_places_within_scalars(text, line, column, width):
    with pytest.raises(SpecError) as caught:
        value_of(parse_yaml(text)).run(names())
    place = caught.value.place
    assert (place.line, place.column, place.width) == (line, column, width) or "\\x" in text
