"""Attention: products of tokens with each other. A causal mask changes no count: PyTorch computes the full matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from archcalc.ops.arguments import Flag, Positive, Probability, require
from archcalc.ops.base import Calls, Extra, Operator, Saved, Shape, Work, add_work, operator, values
from archcalc.ops.calls import NEW, VIEW, Call
from archcalc.ops.composite import Composite, Part
from archcalc.ops.convolution import Linear
from archcalc.ops.joins import Join, Shapes
from archcalc.ops.reads import ALL, EACH, Axis
from archcalc.ops.shape import Features, tokens
from archcalc.ops.shaping import Dropout


def require_heads(channels: Any, heads: int) -> None:
    """Raise Refusal unless the features can be divided into the heads."""
    require(channels % heads == 0, f"{channels} features cannot be divided into {heads} heads")


class Dropping(Operator):
    """Attention that drops weights of values with probability `dropout` in training."""

    num_heads: int
    dropout: float

    def training_work(self, x: Any, y: Shape, batch: int) -> Work:
        """As at inference: multiply-accumulates, products, sums, comparisons, powers of e and divisions.

        With dropout, per score, also a comparison of a random number, a division by 1 − p and a product.
        """
        query, memory, *_ = x if self.joins else (x, x)
        scores = Features((self.num_heads * query.size("T") * memory.size("T"),))
        return add_work(self.batch_work(x, y, batch), Dropout(self.dropout).training_work(scores, scores, batch))

    @property
    def unknown_memory(self) -> bool:  # type: ignore[override]  # of an operator, here of its arguments
        """Whether it drops: then kernels differ between devices in what they keep, and it is not known."""
        return self.dropout > 0


@operator("attention")
class Attention(Dropping, Join):
    """Scaled dot-product attention over heads of query, key and value, `F.scaled_dot_product_attention`.

    The branches are query, key and value, in this order, each tokens × features. With `kv_heads` groups of query heads
    share a head of key and value. A causal query reads the keys up to its own position; all scores count. As in
    PyTorch's fused kernels no matrix of scores is kept: backward computes it again. With `dropout` training drops
    weights with this probability; what it keeps is then unknown, since PyTorch's kernels differ.
    """

    whole: ClassVar[tuple[int, ...]] = (1, 2)
    of_batch: ClassVar[bool] = True
    code: ClassVar[str] = "Attention(num_heads, kv_heads=kv_heads, causal=causal, dropout=dropout)"
    num_heads: Positive
    causal: Flag = False
    kv_heads: Positive | None = None
    dropout: Probability = 0

    def output(self, x: Shapes) -> Shape:
        """The query's shape. Raises Refusal unless heads divide, and key and value have equal shapes and fit them."""
        require(len(x) == 3, f"attention needs three branches, query, key and value, not {len(x)}")
        query, key, value = (tokens(shape, self.name) for shape in x)
        groups = self.kv_heads or self.num_heads
        require_heads(query.channels, self.num_heads)
        require(self.num_heads % groups == 0, f"{self.num_heads} heads cannot be divided into {groups} groups")
        wanted = query.channels // self.num_heads * groups
        require(key.channels == wanted, f"the key needs {wanted} features for {groups} heads, not {key.channels}")
        require((key.size("T") == value.size("T")) & (value.channels == wanted), "key and value differ in shape")
        return query

    def work(self, x: Shapes, y: Shape) -> Work:
        """For C features, T queries and S keys 2·C·T·S multiply-accumulates; of h·T·S scores the scale and softmax.

        Per score a product, a difference, a power of e and a division; per query and head S − 1 comparisons and sums.
        """
        rows, scores = self._scores(x)
        return {
            "mac": 2 * (values(y) * x[1].size("T")),
            "mul": scores,
            "compare": scores - rows,
            "add": scores + (scores - rows),
            "exp": scores,
            "div": scores,
        }

    def _scores(self, x: Shapes) -> tuple[Any, Any]:
        """Return the numbers of rows and of values of the matrices of scores of all heads."""
        rows = self.num_heads * x[0].size("T")
        return rows, rows * x[1].size("T")

    def input_gradient(self, x: Shapes, y: Shape, batch: int) -> Work:
        """g·Vᵀ, Wᵀ·g, D·K and Dᵀ·Q, where D = s·W·(g·Vᵀ − Σg·y), and the scores again: W = e^(s·Q·Kᵀ − log Σ).

        For C features, T queries and S keys 5·C·T·S multiply-accumulates; per score 3 products, 2 differences and a
        power of e; per value of the output a product, and their sums per head. Where heads share a key and a value, the
        sums over them. With dropout per score 2 products with what was drawn.
        """
        rows, scores = self._scores(x)
        drawn = scores * 2 * (self.dropout > 0)
        shared = (self.num_heads - (self.kv_heads or self.num_heads)) * x[1].size("T")
        return {
            "mac": batch * values(y) * x[1].size("T") * 5,
            "mul": batch * (scores * 3 + drawn + values(y)),
            "add": batch * (scores * 2 + values(y) - rows + shared * (x[0].channels // self.num_heads) * 2),
            "exp": batch * scores,
        }

    def saved(self, x: Shapes, y: Shape) -> Saved:
        """Query, key, value, output, and the logarithm of each row's sum in at least float32."""
        return Saved(input=True, output=True, extras=(self._sums(x),))

    def _sums(self, x: Shapes) -> Extra:
        return Extra("logsumexp", (self.num_heads, x[0].size("T")), "wide")

    def calls(self, x: Shapes, y: Shape, training: bool, overwrites: bool) -> Calls:
        """Views with heads, the fused function, and a view without heads."""
        return *[Call((i,), Extra("heads", shape), VIEW, grads=(VIEW,)) for i, shape in enumerate(x)], *self._fused(
            x, 3
        )

    def of_packed(self, x: Shapes) -> Calls:
        """Return its calls where query, key and value are slices of one tensor, whose gradients are joined again."""
        packed = Extra("query, key and value", x[0].with_channels(3 * x[0].channels))
        return Call((0,), packed, VIEW, grads=(NEW,)), *self._fused(x, 1)

    def _fused(self, x: Shapes, count: int) -> Calls:
        """Return the function and the view of its result; it reads `count` values after as many."""
        made, reads = Extra("output", x[0]), tuple(range(count, 2 * count))
        function = Call(reads, made, keeps=(*reads, 2 * count), extras=(self._sums(x),), joint=True)
        return function, Call((2 * count,), made, VIEW, grads=(VIEW,))


@operator("multihead_attention")
class MultiheadAttention(Dropping, Composite):
    """Self-attention between linear layers, with the weights and values of `torch.nn.MultiheadAttention`.

    One linear layer makes query, key and value; then attention, then a linear layer. A causal token reads no later one.
    """

    made_of: ClassVar[tuple[type[Operator], ...]] = (Linear, Attention)
    code: ClassVar[str] = "SelfAttention(in_features, num_heads, bias=bias, causal=causal, dropout=dropout)"
    weighted: ClassVar[bool] = True
    num_heads: Positive
    bias: Flag = True
    causal: Flag = False
    dropout: Probability = 0

    def output(self, x: Shape) -> Shape:
        """The input's shape. Raises Refusal if it is not tokens, or heads do not divide its features."""
        require_heads(tokens(x, self.name).channels, self.num_heads)
        return x

    def parts(self, x: Shape) -> Sequence[Part]:
        attention = Attention(self.num_heads, dropout=self.dropout)
        packed, three = x.with_channels(3 * x.channels), (x, x, x)
        return (
            Part(Linear(packed.channels, self.bias), x, packed, (0,), named("in_proj_")),
            Part(attention, three, x, (1,), calls=attention.of_packed(three)),
            Part(Linear(x.channels, self.bias), x, x, (2,), named("out_proj.")),
        )

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """All positions."""
        return (ALL,)


@operator("cross_attention")
class CrossAttention(Dropping, Composite):
    """Attention of one branch, the query, to another one, the memory, with linear layers before and after.

    A linear layer each makes query, key and value, and one the output, as in `torch.nn.MultiheadAttention`.
    """

    made_of: ClassVar[tuple[type[Operator], ...]] = (Linear, Attention)
    code: ClassVar[str] = "CrossAttention(in_channels, num_heads, last_channels, bias=bias, dropout=dropout)"
    joins: ClassVar[bool] = True
    whole: ClassVar[tuple[int, ...]] = (1,)
    of_batch: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    num_heads: Positive
    bias: Flag = True
    dropout: Probability = 0

    def output(self, x: Shapes) -> Shape:
        """The query's shape. Raises Refusal unless both are tokens, and the heads divide the query's features."""
        require(len(x) == 2, f"cross_attention needs two branches, query and memory, not {len(x)}")
        query, _ = (tokens(shape, self.name) for shape in x)
        require_heads(query.channels, self.num_heads)
        return query

    def parts(self, x: Shapes) -> Sequence[Part]:
        query, memory = x
        linear, made = Linear(query.channels, self.bias), memory.with_channels(query.channels)
        return (
            Part(linear, query, query, (0,), named("q_proj.")),
            Part(linear, memory, made, (1,), named("k_proj.")),
            Part(linear, memory, made, (1,), named("v_proj.")),
            Part(Attention(self.num_heads, dropout=self.dropout), (query, made, made), query, (2, 3, 4)),
            Part(linear, query, query, (5,), named("out_proj.")),
        )

    def window(self, x: Shapes) -> tuple[Axis, ...]:
        """The same position of the query, and all of the memory."""
        return (EACH,)


def named(before: str) -> Mapping[str, str]:
    """Return the names of a linear layer's weights within another operator."""
    return {name: before + name for name in ("weight", "bias")}
