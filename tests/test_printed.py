"""Printed figures are read with their precision, and compared with it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.printed import BYTES, COUNTS, RATIOS, read_dimensions, read_number


@pytest.mark.parametrize(
    ("text", "scales", "value", "step"),
    [
        ("1.5 billion", COUNTS, 1_500_000_000, 100_000_000),
        ("340,908", COUNTS, 340_908, 1),
        ("2.7K", COUNTS, 2_700, 100),
        ("96MB", BYTES, 96_000_000, 1_000_000),
        ("58.1 MiB", BYTES, Fraction("58.1") * 2**20, Fraction(2**20, 10)),
        ("28%", RATIOS, Fraction(28, 100), Fraction(1, 100)),
        ("2.78", RATIOS, Fraction("2.78"), Fraction(1, 100)),
        ("12×", RATIOS, 12, 1),
        ("2.5x", RATIOS, Fraction("2.5"), Fraction(1, 10)),
    ],
)
def test_numbers(text, scales, value, step):
    assert read_number(text, scales) == (value, step, "")


@pytest.mark.parametrize(
    ("text", "scales"),
    [("many", COUNTS), ("28%", COUNTS), ("96MB", COUNTS), ("12×", BYTES), ("96Mb", BYTES), ("1e400", COUNTS)],
)
def test_no_numbers(text, scales):
    with pytest.raises(ValueError, match="cannot read the printed figure"):
        read_number(text, scales)


@given(value=st.integers(1, 10**12), digits=st.integers(0, 3))
def test_what_is_rounded_or_cut_is_reproduced(value, digits):
    """A number printed with fewer digits than it has, rounded to the nearest or cut off."""
    scale = 10 ** (3 + digits)
    for whole, expected in ((round(Fraction(value, scale)), {"exact", "rounds"}), (value // scale, None)):
        printed = read_number(f"{whole * 10**digits}K")._replace(step=Fraction(scale))
        verdict = printed.verdict(value)
        assert verdict in (expected or {"exact", "rounds", "truncates"}) or whole == 0


@given(value=st.integers(10**4, 10**9), off=st.integers(1, 10**6))
def test_what_differs_by_more_is_not(value, off):
    printed = read_number(f"{value:,}K")
    assert printed.verdict(value * 1000 + 1000 * off) == ""
    assert printed.verdict(value * 1000 - 500 - off) == ""


@pytest.mark.parametrize(
    ("text", "computed", "verdict"),
    [
        ("< 25 million", 24_999_999, "within"),
        ("< 25 million", 25_000_000, ""),
        (">3K", 3_001, "within"),
        (">3K", 3_000, ""),
    ],
)
def test_bounds(text, computed, verdict):
    assert read_number(text).verdict(computed) == verdict


def test_a_number_whose_zeros_are_no_digits():
    assert read_number("800K").verdict(802_816) == ""
    assert read_number("800K", to="100K").verdict(802_816) == "rounds"
    assert read_number("800K", to="10K").verdict(805_001) == "truncates"
    assert read_number("800K", to="10K").verdict(794_999) == ""


@pytest.mark.parametrize(
    ("text", "shape", "shown"),
    [
        ("28×28×256", (256, 28, 28), "28×28×256"),
        ("28x28x256", (256, 28, 28), "28×28×256"),
        ("6@28×28", (6, 28, 28), "28×28×6"),
        ("120@1×1", (120,), "1×1×120"),
        ("28×14", (256, 28, 14), "28×14"),
        ("1×1×1000", (1000,), "1×1×1000"),
        ("4096", (4096,), "4096"),
    ],
)
def test_shapes(text, shape, shown):
    printed = read_dimensions(text)
    assert (printed.verdict(shape), printed.show(shape)) == ("exact", shown)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("28×28×256", (255, 28, 28)),
        ("28×28", (256, 28, 27)),
        ("4096", (4095,)),
        ("256×28×28", (256, 28, 28)),
        ("256", (256, 28, 28)),
        ("7", (7, 3)),
        ("1×1×7", (7, 3)),
        ("2", (2, 3, 4, 5)),
    ],
)
def test_other_shapes(text, shape):
    assert read_dimensions(text).verdict(shape) == ""


@pytest.mark.parametrize("text", ["", "28 by 28", "1×2×3×4", "x28", "6@", "-1", "6@28", "6@28×28×3"])
def test_no_shapes(text):
    with pytest.raises(ValueError, match="cannot read the printed shape"):
        read_dimensions(text)


def test_a_printed_zero_has_a_precision_too():
    assert read_number("0%", RATIOS).verdict(0.003) == "rounds"
    assert read_number("0.0G").verdict(768) == "rounds"
    assert read_number("0").verdict(1) == ""


@pytest.mark.parametrize(
    ("computed", "verdict"), [(1499, ""), (1500, "rounds"), (2500, "rounds"), (2501, "truncates"), (3000, "")]
)
def test_the_edges_of_a_precision(computed, verdict):
    assert read_number("2K").verdict(computed) == verdict
