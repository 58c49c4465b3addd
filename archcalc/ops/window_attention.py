"""Attention within windows of an image with its channels last, with a learned bias for each relative position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from archcalc.ops.arguments import Flag, Margin, Positive, PositiveReal, Sides, require
from archcalc.ops.attention import named, require_heads
from archcalc.ops.base import Calls, Operator, Plain, Saved, Shape, Sizes, Work, add_work, operator, values
from archcalc.ops.composite import Composite, Part
from archcalc.ops.convolution import Linear
from archcalc.ops.reads import ALL, Axis, Blocks
from archcalc.ops.shape import Tokens, channels_last

HIDDEN = 512  # of the layers that make the biases of Swin V2


class Windows(Plain):
    """Attention of the tokens of each window to each other; x is that of queries, all windows one after the other."""

    name: ClassVar[str] = "attention in windows"

    def __init__(self, sizes: Sizes, heads: int, masked: int) -> None:
        self.sizes, self.heads, self.masked = sizes, heads, masked

    @property
    def _positions(self) -> Any:
        return values(self.sizes)

    def _scores(self, x: Shape) -> tuple[Any, Any]:
        """Return the numbers of rows and of values of the matrices of scores of all heads and windows."""
        rows = self.heads * x.size("T")
        return rows, rows * self._positions

    @property
    def table(self) -> Sizes:
        """The sizes of the table of biases: all relative positions, and the heads."""
        height, width = self.sizes
        return ((2 * height - 1) * (2 * width - 1), self.heads)

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """relative_position_bias_table (relative positions, heads)."""
        return {"relative_position_bias_table": self.table}

    def work(self, x: Shape, y: Shape) -> Work:
        """For each query and key of a window, per feature 2 multiply-accumulates, and a softmax of biased scores.

        Per query feature a product with the scale. Per score a bias, the mask if the windows are shifted, a difference,
        a power of e and a division; per row n − 1 comparisons and sums.
        """
        rows, scores = self._scores(x)
        biased = scores * (1 + self.masked)
        softmax = {"compare": scores - rows, "add": biased + scores + (scores - rows), "exp": scores, "div": scores}
        return {"mac": 2 * (values(y) * self._positions), "mul": values(y), **softmax}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """g·Vᵀ, Wᵀ·g, D·K and Dᵀ·Q, where D = W·(g·Vᵀ − Σg·y): 4 multiply-accumulates per query, key and feature.

        Per score 2 products, a difference and their sums per row; per query feature a product with the scale.
        """
        rows, scores = self._scores(x)
        softmax = {"mul": batch * (scores * 2 + values(y)), "add": batch * (scores * 2 - rows)}
        return {"mac": batch * values(y) * self._positions * 4, **softmax}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """The sums of the scores' gradients over windows and images, which are added to a table of zeros."""
        return {"add": batch * self._scores(x)[1]}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """What is kept is not known."""
        return Saved(input=True)


class CosineWindows(Windows):
    """Likewise with the cosines of queries and keys, a scale per head, and biases that two layers make of a table."""

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """logit_scale (heads, 1, 1), and weight and bias of both layers; the second one has no bias."""
        layers = {"0.weight": (HIDDEN, 2), "0.bias": (HIDDEN,), "2.weight": (self.heads, HIDDEN)}
        return {"logit_scale": (self.heads, 1, 1), **{f"cpb_mlp.{name}": sizes for name, sizes in layers.items()}}

    def _biases(self) -> Any:
        """Return the number of biases: one for each pair of positions and head."""
        return self.heads * self._positions * self._positions

    def work(self, x: Shape, y: Shape) -> Work:
        """For each query and key of a window, per feature 2 multiply-accumulates, and a softmax of biased scores.

        Per score a product with the scale and what softmax takes: a bias, the mask if the windows are shifted, a
        difference, a power of e and a division; per row n − 1 comparisons and sums. For each query and key with d
        features d squares, d − 1 sums, a root, a comparison with the least length, and d divisions.
        """
        rows, scores = self._scores(x)
        count = values(y)
        lengths = {"add": 2 * (count - rows), "sqrt": 2 * rows, "compare": 2 * rows, "div": 2 * count}
        plain = super().work(x, y) | {"mul": 2 * count + scores}
        return add_work(plain, lengths)

    def work_per_batch(self, x: Shape) -> Work:
        """The layers of the table of biases, 16·sigmoid of the biases, and e to the logarithms of the scales."""
        places, biases, heads = self.table[0], self._biases(), self.heads
        return {
            "mac": places * 2 * HIDDEN + places * HIDDEN * heads,
            "add": places * HIDDEN + biases,
            "compare": places * HIDDEN + heads,
            "exp": biases + heads,
            "div": biases,
            "mul": biases,
        }

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """As of window_attention; of each query and key (g − u·Σg·u)/length, where u is that divided by its length.

        Per query, key and feature 4 multiply-accumulates. Per score 3 products, a difference and their sums per row.
        For each query and key with d features 2d products, d − 1 sums, d differences and d divisions.
        """
        rows, scores = self._scores(x)
        count = values(y)
        own = {"mul": batch * (scores * 3 + 4 * count), "div": batch * 2 * count, "add": batch * 2 * (2 * count - rows)}
        plain = super().input_gradient(x, y, batch)
        return own | {"mac": plain["mac"], "add": own["add"] + plain["add"]}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """Of the scales Σg·cosine, times the scale, 0 where it is cut off; the biases' gradients summed over windows.

        These through 16·g·(1 − s)·s, 3 products and a difference, and the layers, for each weight of which a
        multiply-accumulate per relative position, and as many for the gradient of what the second one reads, with a
        comparison per value of it.
        """
        places, biases, heads = self.table[0], self._biases(), self.heads
        scores = batch * self._scores(x)[1]
        return {
            "mac": places * 2 * HIDDEN + 2 * places * HIDDEN * heads,
            "mul": scores + heads + 3 * biases,
            "add": (scores - heads) + (scores - biases) + biases + biases + (places - 1) * HIDDEN,
            "compare": heads + places * HIDDEN,
        }


class InWindows(Composite):
    """Attention within windows, between linear layers."""

    joins: ClassVar[bool] = False
    weighted: ClassVar[bool] = True
    unknown_memory: ClassVar[bool] = True
    core: ClassVar[type[Windows]]
    window_size: Sides
    num_heads: Positive
    shift: Margin = (0, 0)

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal unless it is H×W×C, and the heads divide its features."""
        require_heads(channels_last(x, self.name).channels, self.num_heads)
        wide = [shift >= size for shift, size in zip(self.shift, self.window_size, strict=True)]
        require(not any(wide), "shift must be smaller than window_size")
        return x

    def padded(self, x: Shape) -> Sizes:
        """Return height and width as multiples of the window's."""
        return tuple([-(-length // size) * size for length, size in zip(x.lengths, self.window_size, strict=True)])

    def shifts(self, x: Shape) -> Sizes:
        """Return how far the windows are shifted; not at all along an axis that one window covers."""
        axes = zip(self.shift, self.padded(x), self.window_size, strict=True)
        return tuple([shift * (length > size) for shift, length, size in axes])

    def parts(self, x: Shape) -> Sequence[Part]:
        rows = Tokens((values(self.padded(x)), x.channels))
        packed, masked = rows.with_channels(3 * x.channels), self._masked(x)
        before, after = self.layer_names()
        core = self.core(self.window_size, self.num_heads, masked)
        own = {name: name for name in core.weights(rows)}
        return (
            Part(Linear(packed.channels), rows, packed, (0,), named(before)),
            Part(core, rows, rows, (1,), own),
            Part(Linear(x.channels), rows, rows, (2,), named(after)),
        )

    def layer_names(self) -> tuple[str, str]:
        """Return how the names of the weights of both linear layers begin."""
        return "qkv.", "proj."

    def _masked(self, x: Shape) -> Any:
        """Return 1 if the windows are shifted, else 0."""
        return 1 * (sum(self.shifts(x)) > 0)

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """Those of its parts, the table or the scale first, as in torchvision."""
        found = super().weights(x)
        return {name: found[name] for name in sorted(found, key=lambda name: ("." in name) + name.startswith("cpb"))}

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """relative_position_index: for each pair of positions of a window the row of the table, in int64."""
        return {"relative_position_index": (values(self.window_size) * values(self.window_size),)}

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        raise self._no_rule("memory")

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """All positions of its window."""
        return tuple(map(Blocks, self.window_size, self.shifts(x)))


@operator("window_attention")
class WindowAttention(InWindows):
    """Self-attention within windows that may be shifted, of Swin transformers (Liu et al. 2021).

    As in torchvision the image is padded with zeros to whole windows, shifted cyclically, and masked; a window as large
    as the image is not shifted. On a grid, as in MaxViT (Tu et al. 2022), a window has positions that are spread evenly
    over the image. `scale` is that of the queries, if not one over the root of the features of a head.
    """

    made_of: ClassVar[tuple[type[Operator], ...]] = (Linear, Windows)
    core: ClassVar[type[Windows]] = Windows
    code: ClassVar[str] = "WindowAttention(in_channels, window_size, num_heads, shift=shift, grid=grid, scale=scale)"
    grid: Flag = False
    scale: PositiveReal | None = None

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal unless it is H×W×C, heads divide its features, and no grid is shifted."""
        require(not (self.grid and any(self.shift)), "a grid cannot be shifted: leave out shift or grid")
        return super().output(x)

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """All positions of its window; on a grid the whole image, in steps."""
        return (ALL, ALL) if self.grid else super().window(x)


@operator("cosine_window_attention")
class CosineWindowAttention(InWindows):
    """Self-attention within windows by cosines, of Swin V2 (Liu et al. 2022), whose biases two layers make.

    These layers read a table of relative positions, so a batch runs them once. As in torchvision keys have no bias.
    """

    made_of: ClassVar[tuple[type[Operator], ...]] = (Linear, CosineWindows)
    core: ClassVar[type[Windows]] = CosineWindows
    code: ClassVar[str] = "WindowAttention(in_channels, window_size, num_heads, shift=shift, cosine=True)"

    def buffers(self, x: Shape) -> dict[str, Sizes]:
        """As of window_attention, and relative_coords_table, the logarithms of the relative positions."""
        height, width = self.window_size
        return {"relative_coords_table": (1, 2 * height - 1, 2 * width - 1, 2), **super().buffers(x)}
