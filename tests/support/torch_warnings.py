"""Warnings of PyTorch that say nothing new."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lopsided_padding() -> Iterator[None]:
    """Ignore the warning that padding='same' may copy the input, which is what archcalc predicts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        yield
