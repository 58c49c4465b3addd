"""Sequences: embedding of numbers of tokens, and recurrent layers."""

from __future__ import annotations

from typing import ClassVar

from archcalc.ops.arguments import Index, Positive, format_shape, require
from archcalc.ops.base import Calls, Plain, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import NEW, NONE
from archcalc.ops.shape import Ids, Tokens


@operator("embedding")
class Embedding(Plain):
    """A learned vector for each number of a token, `torch.nn.Embedding`."""

    code: ClassVar[str] = "nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)"
    num_embeddings: Positive
    embedding_dim: Positive
    padding_idx: Index | None = None

    def output(self, x: Shape) -> Shape:
        """Tokens × embedding_dim. Raises Refusal unless the input is numbers of tokens."""
        require(isinstance(x, Ids), f"embedding needs numbers of tokens, such as {{T: 128}}, not {format_shape(x)}")
        padding = self.padding_idx
        require(padding is None or padding < self.num_embeddings, f"padding_idx {padding} is no row of the weight")
        return Tokens((*x, self.embedding_dim))

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight (num_embeddings, embedding_dim)."""
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def work(self, x: Shape, y: Shape) -> Work:
        """None: it copies rows."""
        return {}

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """None: numbers have no gradient."""
        return {}

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """An addition for each value, to a gradient of zeros; those of padding_idx, which are left out, count too."""
        return {"add": batch * values(y)}

    def saved(self, x: Shape, y: Shape) -> Saved:
        """The numbers, in int64."""
        return Saved(input=True)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        """One function."""
        (call,) = super().calls(x, y, training, overwrites)
        return (call._replace(grads=(NONE, NEW)),)
