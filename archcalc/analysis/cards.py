"""Common GPUs: memory, peaks of arithmetic and bandwidth, from their vendor.

Peaks are TFLOP/s of dense matrices; data sheets print figures for sparse ones, too, which are twice as large. Those of
half precision accumulate in float32, as PyTorch does. Of boards that share a name the fastest counts, so that a time
computed from its peaks stays a lower bound. None: the card has no such hardware, and nothing is assumed.

Memory is what the driver reports, in MiB: the smallest number in public logs of PyTorch, since drivers differ. Where
we found none, it is the nominal size, of which the driver keeps a part (`reported` is False).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from archcalc.errors import ArchcalcError, choose, shorten

MIB = 2**20
_NVIDIA = "https://www.nvidia.com/en-us"
_AMPERE = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
_ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
_BLACKWELL = "https://images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf"
_TURING = (
    "https://images.nvidia.com/aem-dam/en-zz/Solutions/design-visualization/technologies/"
    "turing-architecture/NVIDIA-Turing-Architecture-Whitepaper.pdf"
)


class Card(NamedTuple):
    """A GPU; `key` is its name on the command line."""

    key: str
    aliases: tuple[str, ...]
    architecture: str
    mebibytes: int
    reported: bool
    fp32: float  # TFLOP/s
    tf32: float | None
    fp16: float
    gigabytes_per_second: int
    source: str

    @property
    def memory(self) -> int:
        """The memory in bytes."""
        return self.mebibytes * MIB

    @property
    def bandwidth(self) -> float:
        """Bytes per second from and to memory."""
        return self.gigabytes_per_second * 1e9

    def peak(self, dtype: str, tf32: bool = False) -> float:
        """Return the peak in FLOP/s; `tf32`: float32 may run in TF32. Raises ArchcalcError if none is published."""
        bf16 = self.fp16 if self.tf32 else None  # both came with Ampere
        peaks = {"float32": self.tf32 if tf32 and self.tf32 else self.fp32, "float16": self.fp16, "bfloat16": bf16}
        if not (peak := peaks.get(dtype)):
            raise ArchcalcError(f"{self.key} has no known peak for {dtype}; try --dtype float32")
        return peak * 1e12


_ROWS = (
    Card("b200", (), "Blackwell", 182_631, True, 80, 1125, 2250, 8000, f"{_NVIDIA}/data-center/hgx/"),
    Card("h200", (), "Hopper", 143_156, True, 66.9, 494.7, 989.4, 4800, f"{_NVIDIA}/data-center/h200/"),
    Card("h100", ("h100-80gb-hbm3", "h100-sxm"), "Hopper", 81_079, True, 66.9, 494.7, 989.4, 3350,
         f"{_NVIDIA}/data-center/h100/"),
    Card("h100-pcie", (), "Hopper", 81_008, True, 51.2, 378, 756, 2039, f"{_NVIDIA}/data-center/h100/"),
    Card("a100-80", ("a100-sxm4-80gb", "a100-80gb-pcie"), "Ampere", 81_920, False, 19.5, 156, 312, 2039,
         f"{_NVIDIA}/data-center/a100/"),
    Card("a100-40", ("a100-sxm4-40gb", "a100-pcie-40gb"), "Ampere", 40_441, True, 19.5, 156, 312, 1555,
         f"{_NVIDIA}/data-center/a100/"),
    Card("a40", (), "Ampere", 45_416, True, 37.4, 74.8, 149.7, 696, f"{_NVIDIA}/data-center/a40/"),
    Card("a30", (), "Ampere", 24_576, False, 10.3, 82, 165, 933, f"{_NVIDIA}/data-center/products/a30-gpu/"),
    Card("a10", (), "Ampere", 24_576, False, 31.2, 62.5, 125, 600, f"{_NVIDIA}/data-center/products/a10-gpu/"),
    Card("l40s", (), "Ada", 45_589, True, 91.6, 183, 366, 864, f"{_NVIDIA}/data-center/l40s/"),
    Card("l4", (), "Ada", 24_576, False, 30.3, 60.5, 121, 300, f"{_NVIDIA}/data-center/l4/"),
    Card("t4", (), "Turing", 14_930, True, 8.1, None, 65, 320, f"{_NVIDIA}/data-center/tesla-t4/"),
    Card("v100-32", ("v100-sxm2-32gb",), "Volta", 32_768, False, 15.7, None, 125, 900,
         f"{_NVIDIA}/data-center/v100/"),
    Card("v100-16", ("v100-sxm2-16gb",), "Volta", 16_130, True, 15.7, None, 125, 900, f"{_NVIDIA}/data-center/v100/"),
    Card("p100", ("p100-pcie-16gb", "p100-sxm2-16gb"), "Pascal", 16_280, True, 10.6, None, 21.2, 732,
         f"{_NVIDIA}/data-center/tesla-p100/"),
    Card("rtx-a6000", (), "Ampere", 48_676, True, 38.7, 77.4, 154.8, 768, _AMPERE),
    Card("rtx-6000-ada", (), "Ada", 48_622, True, 91.1, 182.1, 364.2, 960,
         f"{_NVIDIA}/design-visualization/rtx-6000/"),
    Card("rtx-5090", (), "Blackwell", 32_768, False, 104.8, 104.8, 209.5, 1792, _BLACKWELL),
    Card("rtx-4090", (), "Ada", 24_217, True, 82.6, 82.6, 165.2, 1008, _ADA),
    Card("rtx-4080", (), "Ada", 16_049, True, 48.7, 48.7, 97.5, 717, _ADA),
    Card("rtx-3090", (), "Ampere", 24_259, True, 35.6, 35.6, 71.2, 936, _AMPERE),
    Card("rtx-3080", (), "Ampere", 10_240, False, 29.8, 29.8, 59.5, 760, _AMPERE),
    Card("rtx-2080-ti", (), "Turing", 11_019, True, 14.2, None, 56.9, 616, _TURING),
)  # fmt: skip
CARDS = {row.key: row for row in _ROWS}


def find_card(name: str) -> Card:
    """Return a card by its key, or by the name that the driver gives it.

    Upper case, hyphens and words that name no card do not count. Raises ArchcalcError with the nearest keys.
    """
    wanted = _plain(name)
    for card in _ROWS:
        if wanted in map(_plain, (card.key, *card.aliases)):
            return card
    if several := [key for key in CARDS if wanted and _plain(key).startswith(wanted)]:
        raise ArchcalcError(f"card {shorten(repr(name))} is not exact; type {' or '.join(several)}")
    try:
        return choose("card", name, CARDS)
    except ArchcalcError as error:
        hint = "of another card, write the memory: archcalc fit NETWORK --memory 8GB finds the batch"
        raise ArchcalcError(f"{error}\n  {hint}") from None


def _plain(name: str) -> str:
    return re.sub("nvidia|geforce|tesla|rtx|generation|[^a-z0-9]", "", name.lower())
