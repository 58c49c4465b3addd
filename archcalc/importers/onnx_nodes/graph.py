"""An ONNX file as a Graph, node by node. What depends on no input is no layer: weights, and numbers of shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from math import prod
from typing import Any

from archcalc.errors import ArchcalcError, Refusal
from archcalc.graph.graph import About, Graph, Shared
from archcalc.importers.building import Builder
from archcalc.importers.onnx_nodes.calls import further, imported, operator_as_call
from archcalc.importers.onnx_nodes.file import Call, File, read_by
from archcalc.importers.onnx_nodes.layers import RULES, shape_like
from archcalc.importers.onnx_nodes.names import names_of, plain
from archcalc.importers.onnx_nodes.patterns import Matcher
from archcalc.importers.onnx_nodes.site import Layer, Site, Values
from archcalc.ops.base import Operator, Shape, Sizes
from archcalc.ops.shape import Ids, Tokens, shape_of

STAYING = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Cast"}  # some of which do nothing to an image
JOINING = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean", "Concat", "Pow", "Where"}  # of weights by guess
RECURRENT = {"LSTM", "GRU", "RNN"}
WITH_WEIGHTS = {"conv", "conv_transpose", "linear", "onnx::Conv"}  # with which exporters fold batch normalization
OF_MAPS = ("Conv", "MaxPool", "AveragePool", "Global", "BatchNormalization", "InstanceNormalization", "Resize")


def graph_of(file: File, name: str) -> Graph:
    """Return the network of a file whose sizes are known. Raises ArchcalcError if it computes nothing."""
    values = Values(file)
    calls = Matcher(values).calls()
    walk = Walk(values, calls)
    for one in file.inputs:
        walk.input(one)
    for call, layer in zip(calls, names_of(calls), strict=True):
        walk.call(call, layer)
    results = {plain(one): walk.at[one] for one in file.outputs if one in walk.at}
    if not results:
        raise ArchcalcError("none of its outputs depends on an input")
    about = About(title=f"ONNX file by {file.made_by or 'an unknown program'}", notes=walk.notes())
    return walk.builder.graph(name, results, about)


class Walk:
    """The graph so far, and which node makes each value."""

    def __init__(self, values: Values, calls: Sequence[Call]) -> None:
        self.file, self.values, self.calls = values.file, values, calls
        self.builder = Builder()
        self.read = read_by(calls, self.file.outputs)
        self.at: dict[str, int] = {}
        self.owners: dict[tuple[str, ...], Shared] = {}  # the tensors of nodes that stored tensors are
        self.again: set[tuple[str, ...]] = set()  # stored tensors that several nodes use
        self.guessed: list[str] = []  # stored tensors that count as parameters, though the file does not say so
        self.widened = False  # whether a convolution has a weight that is made of fewer stored values

    def input(self, name: str) -> None:
        """Add an input: numbers of tokens, or features, whose axes those decide that read it."""
        sizes = self.file.per_image(name) or ()
        convolved = any(call.op.startswith(OF_MAPS) for call in self.calls if name in call.inputs)
        whole = "int" in self.file.dtypes.get(name, "")
        kind = Ids if whole and len(sizes) == 1 else Tokens if len(sizes) == 2 and not convolved else None
        shape = kind(sizes) if kind else shape_of(sizes) if 1 <= len(sizes) <= 4 else Shape(sizes)
        self.made(name, self.builder.input(plain(name), shape))

    def made(self, name: str, node: int) -> None:
        """Note that a node makes a value."""
        self.at[name] = node
        self.values.shapes[name] = self.builder.nodes[node].output

    def call(self, call: Call, name: str) -> None:
        """Add the layers of a call: one for each output that is read, of which the first has its work."""
        first = call.outputs[0]
        used = [one for one in call.outputs if one in self.read and one not in self.values.constant]
        if not used or not any(one in self.at for one in call.inputs):
            return
        if call.op in STAYING and self.stays(call):
            self.made(first, self.at[call.inputs[0]])
            return
        if call.op in RECURRENT and first:
            used = [first, *[one for one in used if one != first]]
        for place, output in enumerate(used):
            layer = self.layer(call) if output == first else None
            if place:
                op = further(call, output, self.file.per_image(output) or ())
                self.made(output, self.builder.add(op, [self.at[used[0]]], name))
            elif layer:
                self.add(call, layer, name)
            else:
                self.foreign(call, name, output)

    def stays(self, call: Call) -> bool:
        """Whether one image's values stay as they are: same sizes, and none but the batch's axis moves."""
        x, y = self.values.shapes.get(call.inputs[0]), self.file.per_image(call.outputs[0])
        if x is None:
            return False
        if call.op in ("Cast", "Identity"):
            return call.op == "Identity" or isinstance(x, Ids)
        if call.op == "Transpose":
            order = [self.values.axis(call.inputs[0], axis) for axis in call.given.get("perm", ())]
            return [axis for axis in order if axis >= 0] == [*range(len(x))]
        return tuple(x) == y

    def layer(self, call: Call) -> Layer | None:
        """Return a call as a layer of our own operators; None: no operator says it."""
        try:
            layer = RULES[call.op](Site(call, self.values))
            return layer if self.fits(call, layer) else None
        except (Refusal, LookupError, ValueError, TypeError, StopIteration):
            return None  # the operator says less than the call

    def fits(self, call: Call, layer: Layer) -> bool:
        """Whether an operator gives the shape that the file says, and has tensors of its sizes."""
        y, expected = layer.op.output(layer.x), self.file.per_image(call.outputs[0]) or ()
        tensors = layer.op.weights(layer.x) | layer.op.buffers(layer.x)
        counts = {key: prod(self.values.sizes(one)) for key, one in layer.tensors.items()}
        if call.op in RECURRENT:  # PyTorch has other tensors, and merges directions
            return prod(y) == prod(expected) and sum(map(prod, tensors.values())) == sum(counts.values())
        whole = layer.op.weights(layer.x).keys() <= counts.keys()
        return tuple(y) == expected and whole and all(prod(tensors[key]) == count for key, count in counts.items())

    def add(self, call: Call, layer: Layer, name: str) -> None:
        """Add a layer, after those of the stored tensors that it reads as inputs."""
        for one, op in layer.learned.items():
            self.made(one, self.node(op, (), Shape(), {"weight": one}, f"{name}.{plain(one).rpartition('.')[2]}"))
        reads = [self.at[one] for one in layer.reads]
        self.made(call.outputs[0], self.node(layer.op, reads, layer.x, layer.tensors, name))

    def node(self, op: Operator, reads: Sequence[int], x: Any, tensors: Mapping[str, str], name: str) -> int:
        """Add a node; of tensors that other nodes have, it has none of its own."""
        keys = {tensor: self.key(one) for tensor, one in tensors.items()}
        seen = {tensor: self.owners[key] for tensor, key in keys.items() if key in self.owners}
        self.again |= {keys[tensor] for tensor in seen}
        shared = self.shared(op, x, keys, seen)
        if seen and not shared:
            op, x = operator_as_call(op, x, seen), None
        node = self.builder.add(op, reads, name, x, shared)
        for tensor, key in keys.items():
            self.owners.setdefault(key, Shared(node, tensor))
        if op.name == "parameter":
            self.guessed += [one for one in tensors.values() if "PARAMETER" not in self.values.kinds(one)]
        return node

    def shared(self, op: Operator, x: Any, keys: Sized, seen: Mapping[str, Shared]) -> Shared | None:
        """Return the one node that has all tensors of a layer, or one of them; None: there is none."""
        if len({owner.node for owner in seen.values()}) != 1 or any(key != own.tensor for key, own in seen.items()):
            return None
        (tensor, owner), *more = seen.items()
        other = self.builder.nodes[owner.node]
        if len(seen) == len(keys) and other.op.weights(other.x) == op.weights(x):
            return Shared(owner.node)
        return None if more else Shared(owner.node, tensor)

    def foreign(self, call: Call, name: str, output: str) -> None:
        """Add a call that no operator of ours says, with those stored tensors that no other node has."""
        reads = tuple(dict.fromkeys([one for one in call.inputs if one in self.at]))
        trained, state = dict[str, Sizes](), dict[str, Sizes]()
        for place, one in enumerate(call.inputs):
            key = self.key(one) if one in self.values.constant and one not in self.at else ()
            if not key or prod(self.values.sizes(one)) < 2 or "float" not in self.file.dtypes.get(one, ""):
                continue
            if key in self.owners:
                self.again.add(key)
                continue
            self.owners[key] = Shared(len(self.builder.nodes), f"weight{place}")
            sizes, stored = self.values.sizes(one), self.values.stores(one)
            kept = trained if self.values.trained(one) else state
            self.widened |= call.op == "Conv" and prod(sizes) > stored
            kept[f"weight{place}"] = sizes if prod(sizes) <= stored else (stored,)
            guess = call.op in JOINING and kept is trained and "PARAMETER" not in self.values.kinds(one)
            self.guessed += [one] * guess
        made = shape_like(self.file.per_image(output) or (), self.values.shapes[reads[0]])
        weights = [one for place, one in enumerate(call.inputs) if f"weight{place}" in trained]
        op = imported(call, output, made, self.values, reads, weights)
        op = op.but(tensors=tuple(trained.items()), state=tuple(state.items()))
        self.made(output, self.builder.add(op, [self.at[one] for one in reads], name))

    def key(self, name: str) -> tuple[str, ...]:
        """Return what tells a stored tensor from others: the tensors that it is made of; of a part its own name."""
        stored = self.values.constant.get(name, ())
        return stored if self.values.stores(name) <= prod(self.values.sizes(name)) or not stored else (name,)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the figures should know."""
        file, values, again = self.file, self.values, len(self.again)
        nodes = self.builder.nodes
        folded = any(node.op.name in WITH_WEIGHTS for node in nodes) and not any(
            nodes[i].op.name in WITH_WEIGHTS for node in nodes if "batchnorm" in node.op.name for i in node.inputs
        )
        count = sum([min(values.stores(one), prod(values.sizes(one))) for one in self.guessed])
        computed = sum(["COMPUTED" in values.kinds(one) for one in self.guessed])
        guessed = f"({len(self.guessed)} of them, {count:,} values, {computed} computed by the exporter)"
        notes = {
            f"ONNX opset {file.opset}; parameters are those of the file": True,
            "no BatchNormalization follows a convolution or linear layer: it may be folded into them": folded,
            f"stored tensors that several nodes use count once ({again} of them): "
            "the exporter may have merged equal ones": again,
            f"stored tensors that nodes add, multiply or join count as parameters {guessed}: "
            "the file does not say whether they are trained": count,
            "a convolution has a weight that is made of fewer stored values: all of it counts as MACs": self.widened,
            "its batch cannot be changed: a batch of N counts as N runs": len(file.sizes) == 1,
            f"its batch is {file.batch}; figures are for the batch that is asked for": (
                len(file.sizes) > 1 and file.batch not in (None, 1)
            ),
        }
        return tuple([note for note, true in notes.items() if true])
