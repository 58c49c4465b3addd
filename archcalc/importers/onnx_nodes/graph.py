"""An ONNX file as a Graph, node by node. What depends on no input is no layer: weights, and numbers of shapes."""

from __future__ import annotations

from math import prod
from re import fullmatch
from typing import NamedTuple

from archcalc.errors import ArchcalcError, Refusal
from archcalc.graph.graph import About, Graph, Shared
from archcalc.importers.building import Builder
from archcalc.importers.onnx_nodes.calls import imported
from archcalc.importers.onnx_nodes.file import Call, File
from archcalc.importers.onnx_nodes.layers import RULES, Layer, Values, parameter, shape_like
from archcalc.importers.onnx_nodes.names import names_of
from archcalc.importers.onnx_nodes.patterns import Matcher
from archcalc.ops.base import Operator, Shape
from archcalc.ops.imported import Imported
from archcalc.ops.shape import Ids, Tokens, shape_of

STAYING = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Cast"}  # some of which do nothing to an image
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Mean", "Concat"}  # joins of ours
MADE_UP = r"val_\d+|onnx::.*|/.*|.*_output_\d+|_?[cC]onst.*"  # names that exporters give to tensors of their own
CONVOLUTIONS = ("conv", "conv_transpose")
OF_MAPS = ("Conv", "MaxPool", "AveragePool", "Global", "BatchNormalization", "InstanceNormalization", "Resize")


class Owner(NamedTuple):
    """The node and the tensor of it that a stored tensor is."""

    node: int
    tensor: str


def graph_of(file: File, name: str) -> Graph:
    """Return the network of a file whose sizes are known. Raises ArchcalcError if it computes nothing."""
    walk = Walk(file)
    calls = Matcher(file).calls()
    for one in file.inputs:
        walk.input(one, calls)
    for call, layer in zip(calls, names_of(calls), strict=True):
        walk.call(call, layer)
    results = {_plain(one): walk.at[one] for one in file.outputs if one in walk.at}
    if not results:
        raise ArchcalcError("none of its outputs depends on an input")
    about = About(title=f"ONNX file by {file.made_by or 'an unknown program'}", notes=walk.notes())
    return walk.builder.graph(name, results, about)


class Walk:
    """The graph so far, and which node makes each value."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.builder = Builder()
        self.values = Values(file)
        self.read = file.read()
        self.at: dict[str, int] = {}
        self.owners: dict[tuple[str, ...], Owner] = {}
        self.again: set[tuple[str, ...]] = set()  # stored tensors that several nodes use
        self.normalized = False

    def input(self, name: str, calls: list[Call]) -> None:
        """Add an input: numbers of tokens, or features, whose axes those decide that read it."""
        sizes = self.file.per_image(name) or ()
        readers = [call.op for call in calls if name in call.inputs]
        convolved = any(op.startswith(OF_MAPS) for op in readers)
        whole = "int" in self.file.dtypes.get(name, "")
        kind = Ids if whole and len(sizes) == 1 else Tokens if len(sizes) == 2 and not convolved else None
        shape = kind(sizes) if kind else shape_of(sizes) if 1 <= len(sizes) <= 4 else Shape(sizes)
        self.made(name, self.builder.input(_plain(name), shape))

    def made(self, name: str, node: int) -> None:
        """Note that a node makes a value."""
        self.at[name] = node
        self.values.shapes[name] = self.builder.nodes[node].output

    def call(self, call: Call, name: str) -> None:
        """Add the layers of a call."""
        constant = self.values.constant
        used = [one for one in call.outputs if one in self.read and one not in constant]
        if not any(one in self.at for one in call.inputs):
            return
        before = self.at.get(call.inputs[0])
        if call.op == "BatchNormalization" and before is not None:
            self.normalized |= self.builder.nodes[before].op.name in CONVOLUTIONS
        if call.op in STAYING and self.stays(call):
            self.made(call.outputs[0], self.at[call.inputs[0]])
        elif call.op == "Split":
            self.split(call, name)
        elif call.outputs[0] in used or (call.op in ("LSTM", "GRU", "RNN") and call.outputs[0]):
            self.layer(call, name)
        for one in used:
            if one not in self.at:
                self.foreign(call, name, one)

    def stays(self, call: Call) -> bool:
        """Whether one image's values stay as they are: same sizes, and none but the batch's axis moves."""
        x, y = self.values.shapes[call.inputs[0]], self.file.per_image(call.outputs[0])
        if call.op in ("Cast", "Identity"):
            return call.op == "Identity" or isinstance(x, Ids)
        if call.op == "Transpose":
            order = [self.values.axis(call.inputs[0], axis) for axis in call.given.get("perm", ())]
            return [axis for axis in order if axis >= 0] == [*range(len(x))]
        return tuple(x) == y

    def layer(self, call: Call, name: str) -> None:
        """Add the layer that makes the first output of a call."""
        if not self.own(call, name):
            self.foreign(call, name, call.outputs[0])

    def own(self, call: Call, name: str) -> bool:
        """Add a call as a layer of our own operators; return whether one says it."""
        rule = RULES.get(call.op)
        before = len(self.builder.nodes), dict(self.at), dict(self.values.shapes), dict(self.owners)
        try:
            layer = rule and (call.op not in ELEMENTWISE or self.parameters(call, name)) and rule(call, self.values)
            if layer and self.fits(call, layer):
                self.add(call, layer, name)
                return True
        except (Refusal, KeyError, ValueError, IndexError, TypeError):
            pass  # the operator says less than the call
        del self.builder.nodes[before[0] :]
        self.at, self.values.shapes, self.owners = before[1:]
        return False

    def fits(self, call: Call, layer: Layer) -> bool:
        """Whether an operator gives the shape that the file says, and has tensors of its sizes."""
        y = layer.op.output(layer.x)
        expected = self.file.per_image(call.outputs[0]) or ()
        same = prod(y) == prod(expected) if call.op in ("LSTM", "GRU", "RNN") else tuple(y) == expected
        tensors = layer.op.weights(layer.x) | layer.op.buffers(layer.x)
        count = {key: prod(self.values.sizes(one)) for key, one in layer.tensors.items()}
        if call.op in ("LSTM", "GRU", "RNN"):
            return same and sum(map(prod, tensors.values())) == sum(count.values())
        return same and all(prod(tensors[key]) == count[key] for key in layer.tensors)

    def parameters(self, call: Call, name: str) -> bool:
        """Add stored tensors among the inputs of a join as layers; return whether all inputs are layers then."""
        first = next(self.values.shapes[one] for one in call.inputs if one in self.at)
        for one in call.inputs:
            if one in self.at:
                continue
            sizes = self.values.sizes(one)
            op = (
                parameter(first, sizes, self.trained(one), call.op == "Concat")
                if prod(sizes) > 1 and self.values.constant[one]
                else None
            )
            if op is None:
                return False
            key = self.key(one)
            owner = self.owners.get(key)
            shared = Shared(owner.node) if owner and self.builder.nodes[owner.node].op == op else None
            if owner and not shared:
                return False
            node = self.builder.add(op, (), f"{name}.{_plain(one).rpartition('.')[2]}", shared=shared)
            self.owners.setdefault(key, Owner(node, "weight"))
            self.made(one, node)
        return True

    def add(self, call: Call, layer: Layer, name: str) -> None:
        """Add a layer; of tensors that other layers have, it has none of its own."""
        op, reads = layer.op, [self.at[one] for one in layer.reads]
        keys = {tensor: self.key(one) for tensor, one in layer.tensors.items()}
        seen = {tensor: self.owners[key] for tensor, key in keys.items() if key in self.owners}
        self.again |= {keys[tensor] for tensor in seen}
        shared = None
        if seen:
            nodes = {owner.node for owner in seen.values()}
            same = all(tensor == owner.tensor for tensor, owner in seen.items())
            first = min(nodes)
            equal = self.builder.nodes[first].op.weights(self.builder.nodes[first].x) == op.weights(layer.x)
            if same and len(nodes) == 1 and len(seen) == len(keys) and equal:
                shared = Shared(first)
            elif same and len(seen) == 1:
                shared = Shared(first, next(iter(seen)))
            else:
                op = self.without(op, layer, {*seen})
        node = self.builder.add(op, reads, name, layer.x if op is layer.op else None, shared)
        for tensor, key in keys.items():
            self.owners.setdefault(key, Owner(node, tensor))
        self.made(call.outputs[0], node)

    def without(self, op: Operator, layer: Layer, seen: set[str]) -> Imported:
        """Return an operator without the tensors that several other layers have."""
        x, y = layer.x, op.output(layer.x)
        own = tuple([(key, sizes) for key, sizes in op.weights(x).items() if key not in seen])
        state = tuple([(key, sizes) for key, sizes in op.buffers(x).items() if key not in seen])
        counts = tuple(op.work(x, y).items())
        return Imported(f"onnx::{op.name}", y, own, state, counts, wrote=op.writes(x, y, False), kept=None)

    def split(self, call: Call, name: str) -> None:
        """Add a slice for each part."""
        x, start = call.inputs[0], 0
        axis = call.given.get("axis", 0)
        for one in call.outputs:
            size = self.values.sizes(one)[axis]
            part = Call("Slice", call.name, (x,), (one,), {"start": start, "size": size, "axis": axis})
            start += size
            self.layer(part, name)

    def foreign(self, call: Call, name: str, output: str) -> None:
        """Add a call that no operator of ours says."""
        reads = tuple(dict.fromkeys([one for one in call.inputs if one in self.at]))
        stored, whole = {}, not any(one in self.at for one in call.outputs)
        for place, one in enumerate(call.inputs if whole else ()):
            key = self.key(one) if one in self.values.constant and one not in self.at else ()
            if key and prod(self.values.sizes(one)) > 1 and "float" in self.file.dtypes.get(one, ""):
                if key in self.owners:
                    self.again.add(key)
                    continue
                self.owners[key] = Owner(len(self.builder.nodes), f"weight{place}")
                stored[f"weight{place}"] = self.values.sizes(one), self.trained(one)
        first = self.values.shapes[reads[0]] if reads else None
        made = shape_like(self.file.per_image(output) or (), first)
        op = imported(call, output, made, self.values, stored if whole else None)
        self.made(output, self.builder.add(op, [self.at[one] for one in reads], name))

    def key(self, name: str) -> tuple[str, ...]:
        """Return what tells a stored tensor from others: the tensors that it is made of; of a part its own name."""
        stored = self.values.constant.get(name, ())
        whole = sum(prod(self.file.tensors[one].sizes) for one in stored) == prod(self.values.sizes(name))
        return stored if whole or not stored else (name,)

    def trained(self, name: str) -> bool:
        """Whether a tensor that is no layer's weight is trained: if its name is not one that exporters make up."""
        return not all(fullmatch(MADE_UP, one) for one in self.values.constant[name])

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the figures should know."""
        file = self.file
        notes = [f"ONNX opset {file.opset}; parameters are those of the file"]
        if not self.normalized and any(node.op.name in CONVOLUTIONS for node in self.builder.nodes):
            notes.append("no BatchNormalization follows a convolution: it may be folded into the convolutions")
        if self.again:
            several = f"stored tensors that several nodes use count once ({len(self.again)} of them)"
            notes.append(f"{several}: the exporter may have merged equal ones")
        if len(file.sizes) == 1:
            notes.append("its batch cannot be changed: a batch of N counts as N runs")
        elif file.batch not in (None, 1):
            notes.append(f"its batch is {file.batch}; figures are for the batch that is asked for")
        return tuple(notes)


def _plain(name: str) -> str:
    return "".join([letter if letter.isalnum() or letter in "_.-" else "_" for letter in name]).strip(".") or "input"
