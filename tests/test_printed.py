"""Printed figures are read with their precision, and compared with it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc.ops.shape import shape_of
from archcalc.printed import BYTES, COUNTS, RATIOS, read_dimensions, read_number


@pytest.mark.parametrize(
    ("text", "scales", "value", "step", "digits"),
    [
        ("1.5 billion", COUNTS, 1_500_000_000, 100_000_000, 2),
        ("340,908", COUNTS, 340_908, 1, 6),
        ("2.7K", COUNTS, 2_700, 100, 2),
        ("138M", COUNTS, 138_000_000, 1_000_000, 3),
        ("3.86G", COUNTS, 3_860_000_000, 10_000_000, 3),
        ("0.27M", COUNTS, 270_000, 10_000, 2),
        ("1.0M", COUNTS, 1_000_000, 100_000, 2),
        ("10.0M", COUNTS, 10_000_000, 100_000, 3),
        ("650,000", COUNTS, 650_000, 10_000, 2),
        ("800K", COUNTS, 800_000, 100_000, 1),
        ("150K", COUNTS, 150_000, 10_000, 2),
        ("60 million", COUNTS, 60_000_000, 10_000_000, 1),
        ("3.8×10⁹", COUNTS, 3_800_000_000, 100_000_000, 2),
        ("3.86 x 10^9", COUNTS, 3_860_000_000, 10_000_000, 3),
        ("40·10⁶", COUNTS, 40_000_000, 10_000_000, 1),
        ("1.5e10", COUNTS, 15_000_000_000, 1_000_000_000, 2),
        ("1.2T", COUNTS, 1_200_000_000_000, 100_000_000_000, 2),
        ("1,000", COUNTS, 1_000, 1_000, 1),
        ("0", COUNTS, 0, 1, 1),
        ("96MB", BYTES, 96_000_000, 1_000_000, 2),
        ("230MB", BYTES, 230_000_000, 10_000_000, 2),
        ("58.1 MiB", BYTES, Fraction("58.1") * 2**20, Fraction(2**20, 10), 3),
        ("1.5 tib", BYTES, Fraction("1.5") * 2**40, Fraction(2**40, 10), 2),
        ("28%", RATIOS, Fraction(28, 100), Fraction(1, 100), 2),
        ("30%", RATIOS, Fraction(30, 100), Fraction(10, 100), 1),
        ("2.78", RATIOS, Fraction("2.78"), Fraction(1, 100), 3),
        ("12×", RATIOS, 12, 1, 2),
        ("50×", RATIOS, 50, 10, 1),
        ("2.5x", RATIOS, Fraction("2.5"), Fraction(1, 10), 2),
    ],
)
def test_numbers(text, scales, value, step, digits):
    assert read_number(text, scales) == (value, step, digits, "", False)


@pytest.mark.parametrize(
    ("text", "bound", "about"),
    [
        ("under 3K", "<", False),
        ("less than 3K", "<", False),
        ("< 3K", "<", False),
        ("over 3K", ">", False),
        ("More than 3K", ">", False),
        (">3K", ">", False),
        ("about 3K", "", True),
        ("~3K", "", True),
        ("≈ 3K", "", True),
        ("approx. 3K", "", True),
        ("approximately 3K", "", True),
    ],
)
def test_words_before_a_number(text, bound, about):
    assert read_number(text) == (3_000, 1_000, 1, bound, about)


@pytest.mark.parametrize(("text", "step"), [("50", 1), ("110", 1), ("about 100", 100), ("~110", 10)])
def test_all_digits_of_a_small_count_count(text, step):
    assert read_number(text, small=True).step == step


@pytest.mark.parametrize(
    ("text", "computed", "verdict"),
    [
        ("about 230MB", 240_000_000, "rounds"),
        ("about 230MB", 220_000_000, "rounds"),
        ("about 230MB", 240_000_001, ""),
        ("about 230MB", 219_999_999, ""),
        ("about 230MB", 230_000_000, "exact"),
    ],
)
def test_about_is_one_off_in_the_last_digit_that_counts(text, computed, verdict):
    assert read_number(text, BYTES).verdict(computed) == verdict


@pytest.mark.parametrize(
    ("text", "to", "step", "digits"),
    [("150K", "1K", 1_000, 3), ("150K", "10K", 10_000, 2), ("800K", "100K", 100_000, 1), ("~100", "10", 10, 2)],
)
def test_what_a_number_is_rounded_to(text, to, step, digits):
    assert read_number(text, to=to)[1:3] == (step, digits)


@pytest.mark.parametrize(("text", "to"), [("150K", "100K"), ("150K", "0"), ("over 3K", "1K"), ("150K", "many")])
def test_what_a_number_is_not_rounded_to(text, to):
    with pytest.raises(ValueError, match=r"not a multiple|is a bound|cannot read"):
        read_number(text, to=to)


@pytest.mark.parametrize(("computed", "by"), [(24_000_000, 0.04), (25_000_000, 0), (30_000_000, 0.2)])
def test_how_far_a_bound_is(computed, by):
    assert read_number("under 25 million").by(computed) == by
    assert read_number("25 million").by(computed) is None


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("many", COUNTS),
        ("28%", COUNTS),
        ("96MB", COUNTS),
        ("12×", BYTES),
        ("96Mb", BYTES),
        ("96Gib", BYTES),
        ("1e400", COUNTS),
    ],
)
def test_no_numbers(text, scales):
    with pytest.raises(ValueError, match="cannot read the number"):
        read_number(text, scales)


@st.composite
def cut_short(draw):
    """A count, how many of its digits are printed, and the place value of the last of these."""
    count = draw(st.integers(1, 10**12))
    digits = draw(st.integers(1, len(str(count))))
    return count, digits, 10 ** (len(str(count)) - digits)


@given(cut_short())
def test_what_is_rounded_or_cut_to_some_digits_is_reproduced(case):
    """Whatever the number of digits: a printed number has no precision but that of its own digits."""
    count, _, place = case
    rounded, cut = (count + place // 2) // place * place, count // place * place
    assert read_number(f"{rounded:,}").verdict(count) in ("exact", "rounds")
    assert read_number(f"{cut:,}").verdict(count) in ("exact", "rounds", "truncates")


@given(cut_short(), st.sampled_from(["", "K", "M", " billion"]))
def test_the_digits_that_count_do_not_depend_on_how_a_number_is_written(case, unit):
    count, _, place = case
    whole = count // place * place
    printed = read_number(f"{whole:,}{unit}")
    assert printed.digits == len(str(whole).rstrip("0"))
    assert printed.value / printed.step == int(str(whole).rstrip("0"))


@given(value=st.integers(10**4, 10**9), off=st.integers(1, 10**6))
def test_what_differs_by_more_is_not(value, off):
    printed = read_number(f"{value:,}K")
    step = int(printed.step)
    assert printed.verdict(value * 1000 + step + off - 1) == ""
    assert printed.verdict(value * 1000 - step // 2 - off) == ""


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


def test_zeros_are_digits_only_where_it_is_said():
    assert read_number("800K").verdict(802_816) == "rounds"
    assert read_number("800K", to="1K").verdict(802_816) == ""
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
    assert (printed.verdict(shape_of(shape)), printed.show(shape_of(shape))) == ("exact", shown)


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
    assert read_dimensions(text).verdict(shape_of(shape)) == ""


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


@given(st.sampled_from(["25.6M", "4.1G", "~30K", "about 150", "< 3K", "over 25 million", "0", "1e99", "650,000"]),
       st.integers(-3, 3), st.integers(-2, 2))  # fmt: skip
def test_what_matches_is_in_the_range(text, steps, more):
    number = read_number(text)
    computed = int(number.value + steps * number.step / 2) + more
    least, most = number.range
    assert least <= computed <= most or not number.verdict(computed)
