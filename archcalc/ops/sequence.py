"""Sequences: embedding of numbers of tokens, and recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from archcalc.ops.arguments import Flag, Index, Nonlinearity, Positive, format_shape, require
from archcalc.ops.base import Calls, Plain, Saved, Shape, Sizes, Work, operator, values
from archcalc.ops.calls import NEW, NONE
from archcalc.ops.composite import total
from archcalc.ops.reads import ALL, Axis
from archcalc.ops.shape import Ids, Tokens, tokens
from archcalc.ops.work_in_words import in_words


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


class Recurrent(Plain):
    """Layers that go through tokens one after the other; bidirectional ones also from the last to the first.

    A layer's gates are W·x + b and U·h + c of a token x and of the state h before it, which is zero at first.
    Arithmetic with that zero counts, as PyTorch computes it, but no gradient of it. The outputs of all tokens are
    returned, of both directions side by side, and no state.
    """

    weighted: ClassVar[bool] = True
    unknown_memory: ClassVar[bool] = True
    gates: ClassVar[int]
    cell: ClassVar[Work]  # for each value of the state: its work
    of_cell: ClassVar[Work]  # likewise of its gradient
    of_state: ClassVar[Work]  # likewise what the gradient takes that comes from the token after it
    hidden_size: Positive
    num_layers: Positive = 1
    bias: Flag = True
    bidirectional: Flag = False

    def output(self, x: Shape) -> Shape:
        """Tokens × hidden_size, twice that if bidirectional. Raises Refusal unless the input is tokens."""
        return tokens(x, self.name).with_channels(self.hidden_size * self._directions)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _layers(self, x: Shape) -> Iterator[tuple[str, int]]:
        """Yield the end of the names of each layer's weights, direction by direction, and its input's features."""
        for layer in range(self.num_layers):
            for direction in range(self._directions):
                features = self.hidden_size * self._directions if layer else x.channels
                yield f"l{layer}" + "_reverse" * direction, features

    def weights(self, x: Shape) -> dict[str, Sizes]:
        """weight_ih (gates·hidden_size, in) and weight_hh (gates·hidden_size, hidden_size), and a bias for each."""
        found: dict[str, Sizes] = {}
        rows = self.gates * self.hidden_size
        for name, features in self._layers(x):
            found |= {f"weight_ih_{name}": (rows, features), f"weight_hh_{name}": (rows, self.hidden_size)}
            found |= {f"bias_ih_{name}": (rows,), f"bias_hh_{name}": (rows,)} if self.bias else {}
        return found

    def _products(self, x: Shape, hidden: bool = True) -> int:
        """Return the multiply-accumulates with all weights for a token, or only with those of inputs."""
        rows = self.gates * self.hidden_size
        return sum([rows * (features + self.hidden_size if hidden else features) for _, features in self._layers(x)])

    def _cells(self) -> tuple[Work, Work]:
        """Return for each value of the state its work, and that of its gradient."""
        return self.cell, self.of_cell

    def _states(self) -> int:
        """Return the number of values of the states of all layers."""
        return self.hidden_size * self._directions * self.num_layers

    @classmethod
    def says(cls, figure: str) -> str:
        if figure == "work":
            cell, biases = in_words(cls.cell), f"with biases {2 * cls.gates} additions"
            return f"For each weight and token a multiply-accumulate; for each value of the state {cell}; {biases}."
        if figure == "input_gradient":
            cell, more = in_words(cls.of_cell), in_words(cls.of_state)
            again = "sums of what several directions and layers read"
            products = "For each weight and token a multiply-accumulate, of the first state none"
            return f"{products}; for each value of the state {cell}, and unless it is the last {more}; {again}."
        return super().says(figure)

    def work(self, x: Shape, y: Shape) -> Work:
        count = x.size("T") * self._states()
        biases = {"add": count * (2 * self.gates)} if self.bias else {}
        cells = {kind: count * each for kind, each in self._cells()[0].items()}
        return total([{"mac": x.size("T") * self._products(x)}, cells, biases])

    def input_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        turns = {"add": batch * values(x)} if self.bidirectional else {}
        first = sum([self.gates * self.hidden_size * x.channels] * self._directions)
        return total([self.inner_gradient(x, y, batch), {"mac": batch * x.size("T") * first}, turns])

    def inner_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        steps, later = batch * x.size("T"), batch * (x.size("T") - 1)
        first = sum([self.gates * self.hidden_size * x.channels] * self._directions)
        inputs, states = self._products(x, hidden=False) - first, self._products(x) - self._products(x, hidden=False)
        turns = steps * self.hidden_size * 2 * (self.num_layers - 1) if self.bidirectional else 0
        return total([
            {"mac": steps * inputs + later * states, "add": turns},
            {kind: steps * self._states() * each for kind, each in self._cells()[1].items()},
            {kind: later * self._states() * each for kind, each in self.of_state.items()},
        ])  # fmt: skip

    def weight_gradient(self, x: Shape, y: Shape, batch: int) -> Work:
        """For each weight and token a multiply-accumulate; for each bias the sum over the tokens, n − 1 additions."""
        steps = batch * x.size("T")
        biases = {"add": self._states() * self.gates * 2 * (steps - 1)} if self.bias else {}
        return {"mac": steps * self._products(x)} | biases

    def links(self, x: Shape, y: Shape) -> int:
        """One for each weight and bias and token."""
        count: int = x.size("T") * sum([values(sizes) for sizes in self.weights(x).values()])
        return count

    def saved(self, x: Shape, y: Shape) -> Saved:
        """Input and output, and what only PyTorch's kernel knows: it is unknown."""
        return Saved(input=True, output=True)

    def calls(self, x: Shape, y: Shape, training: bool, overwrites: bool) -> Calls:
        raise self._no_rule("memory")

    def window(self, x: Shape) -> tuple[Axis, ...]:
        """All positions; of one direction those up to its own."""
        return (ALL,)

    def pytorch(self, x: Shape) -> str:
        own = "num_layers=num_layers, bias=bias, bidirectional=bidirectional"
        return f"{self.name.upper()}Outputs(in_features, hidden_size, {own}, batch_first=True)"


@operator("rnn")
class RNN(Recurrent):
    """h = tanh(W·x + b + U·h + c) for one token after the other, `torch.nn.RNN` (Elman 1990).

    With nonlinearity='relu' it is a ReLU.
    """

    gates: ClassVar[int] = 1
    cell: ClassVar[Work] = {"add": 1, "tanh": 1}
    of_cell: ClassVar[Work] = {"add": 1, "mul": 2}
    of_state: ClassVar[Work] = {"add": 1}
    nonlinearity: Nonlinearity = "tanh"

    def _cells(self) -> tuple[Work, Work]:
        return super()._cells() if self.nonlinearity == "tanh" else ({"add": 1, "compare": 1}, {"compare": 1})

    @classmethod
    def says(cls, figure: str) -> str:
        told = super().says(figure)
        relu = (
            " With relu a comparison instead of the products and their addition." if figure == "input_gradient" else ""
        )
        return f"{told} With relu a comparison instead of the tanh." if figure == "work" else told + relu

    def pytorch(self, x: Shape) -> str:
        return super().pytorch(x).replace("batch_first", "nonlinearity=nonlinearity, batch_first")


@operator("lstm")
class LSTM(Recurrent):
    """Long short-term memory, `torch.nn.LSTM` (Hochreiter & Schmidhuber 1997, with forget gates).

    c = f·c + i·g and h = o·tanh c, where i, f and o are sigmoids and g a tanh of the gates.
    """

    gates: ClassVar[int] = 4
    cell: ClassVar[Work] = {"add": 4 + 3 + 1, "exp": 3, "div": 3, "tanh": 2, "mul": 3}
    of_cell: ClassVar[Work] = {"add": 1 + 4, "mul": 2 + 2 + 3 + 8}
    of_state: ClassVar[Work] = {"add": 2, "mul": 1}


@operator("gru")
class GRU(Recurrent):
    """Gated recurrent units, `torch.nn.GRU` (Cho et al. 2014).

    h = n + z·(h − n), where r and z are sigmoids of the gates and n = tanh(W·x + b + r·(U·h + c)).
    """

    gates: ClassVar[int] = 3
    cell: ClassVar[Work] = {"add": 2 + 1 + 2 + 2, "mul": 2, "exp": 2, "div": 2, "tanh": 1}
    of_cell: ClassVar[Work] = {"add": 4, "mul": 10}
    of_state: ClassVar[Work] = {"add": 2}
