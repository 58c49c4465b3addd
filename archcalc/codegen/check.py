"""Whether generated source does what its network does: it runs with stand-ins for torch, and that is compared."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field
from functools import lru_cache, partial
from typing import Any

from archcalc.codegen.flat import LENGTHS
from archcalc.codegen.layers import layers
from archcalc.codegen.operators import form, joined, may_overwrite
from archcalc.codegen.standins import Layer, Module, Recorder, Tensor, Torch, Unlike
from archcalc.codegen.symbols import name
from archcalc.graph import Graph, Node
from archcalc.language.values import FUNCTIONS
from archcalc.ops.base import declared
from archcalc.ops.shaping import Identity

NONE: Mapping[str, Any] = {}
NUMBERS = ("Real", "PositiveReal", "Probability")  # annotations of what may be written without a point
BUILTINS = {*FUNCTIONS, "tuple", "super", "__build_class__"}  # what source needs; no other may do anything here


def is_right(source: str, graph: Graph, arguments: Mapping[str, Any] = NONE) -> bool:
    """Whether the source's last class, made with these arguments, is the graph's network."""
    try:
        compare(source, graph, arguments)
    except Exception:  # whatever wrong source may raise
        return False
    return True


def compare(source: str, graph: Graph, arguments: Mapping[str, Any]) -> None:
    """Raises where the source is not the graph's network: Unlike, or what running it raises.

    Compared are the layers with weights in the order in which they are registered, with their arguments; and the
    layers as they run, with what each is given, in evaluation and in training.
    """
    own = recorder(graph)
    model = made(source, own)(**arguments)
    expected = Expected(graph, own)
    weighted = expected.number(model)
    if weighted != list(expected.weighted.values()):
        raise Unlike("other layers with weights, or in another order")
    for training in (False, True) if graph.sides else (False,):
        _run(model, expected, training)


def recorder(graph: Graph) -> Recorder:
    """What records what the source of a network does."""
    return Recorder(_classes(graph))


def made(source: str, recorder: Recorder) -> Callable[..., Module]:
    """The last class of some source."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} & set(layers())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ClassDef) and node.name in own)]
    torch = Torch(recorder)
    space: dict[str, Any] = {word: partial(Layer, recorder, word) for word in own}
    known = {word: getattr(builtins, word) for word in BUILTINS}
    space |= {"__name__": "generated", "__builtins__": known | {"__import__": lambda *_: torch}}
    exec(compile(tree, "generated", "exec"), space)
    title = [node.name for node in tree.body if isinstance(node, ast.ClassDef)][-1]
    made: Callable[..., Module] = space[title]
    return made


def _run(model: Module, expected: Expected, training: bool) -> None:
    graph, recorder = expected.graph, expected.recorder
    for module in model.walk(set()):
        module.training = training
    wanted = expected.run(training)
    recorder.ran = []
    found = model(recorder.image)
    ends = [graph.result, *graph.sides] if training else [graph.result]
    outputs = found if isinstance(found, tuple) else (found,)
    if isinstance(found, tuple) != (len(ends) > 1) or [out.number for out in outputs] != [wanted[i] for i in ends]:
        raise Unlike("another result")
    steps = [i for i in wanted if i and not isinstance(graph.nodes[i].op, Identity)]
    numbers = {wanted[i] for i in steps}
    ran = [result for result in recorder.ran if result.number in numbers or result.layer]
    if [result.number for result in ran] != [wanted[i] for i in steps]:
        raise Unlike("other layers, or in another order")
    if any(result.in_place and i not in expected.allowed for i, result in zip(steps, ran, strict=True)):
        raise Unlike("a layer overwrites what is needed")


class Expected:
    """What a graph's nodes do, by what their operators' own texts say."""

    def __init__(self, graph: Graph, recorder: Recorder) -> None:
        self.graph = graph
        self.recorder = recorder
        self.allowed = may_overwrite(graph)
        self.made = [_made(node, recorder.classes) for node in graph.nodes]
        self.weighted = {i: self.made[i] for i in _in_order(graph) if _has_values(graph.nodes[i])}
        self.numbers = {i: number for number, i in enumerate(self.weighted)}

    def number(self, model: Module) -> list[str]:
        """Numbers the layers with weights in the order of `state_dict()`; how they are made."""
        kinds = set(self.weighted.values())
        found = [module for module in model.walk(set()) if isinstance(module, Layer) and module.made in kinds]
        for number, layer in enumerate(found):
            layer.number = number
        if strange := {m.made for m in model.walk(set()) if isinstance(m, Layer)} - set(self.made):
            raise Unlike(f"the network has no {min(strange)}")
        return [layer.made for layer in found]

    def run(self, training: bool) -> dict[int, int]:
        """By node, the number of its result."""
        results = {0: self.recorder.image}
        for i, node in enumerate(self.graph.nodes):
            if i and (training or not node.side):
                results[i] = self.result(i, node, [results[j] for j in node.inputs])
        return {i: tensor.number for i, tensor in results.items()}

    def result(self, i: int, node: Node, inputs: list[Tensor]) -> Tensor:
        """A node's result."""
        if isinstance(node.op, Identity):
            return inputs[0]
        if self.made[i]:
            key = (self.made[i], self.numbers.get(i, -1), tuple(tensor.number for tensor in inputs))
            return self.recorder.tensor(key)
        tree = joined(_parsed(form(node.op, node.x)), [name(f"x{k}") for k in range(len(inputs))])
        space = {f"x{k}": tensor for k, tensor in enumerate(inputs)} | {"torch": Torch(self.recorder)}
        made: Tensor = eval(ast.unparse(tree), space)
        return made


def _has_values(node: Node) -> bool:
    return bool(node.op.weights(node.x) or node.op.buffers(node.x))


def _in_order(graph: Graph) -> Iterator[int]:
    """Nodes in the order of `state_dict()`: what stands in the same block comes together."""
    tree: dict[str, Any] = {}
    for i, node in enumerate(graph.nodes):
        *blocks, own = node.name.split(".")
        at = tree
        for block in blocks:
            at = at.setdefault(block, {})
        at[own] = i
    return _leaves(tree)


def _leaves(tree: dict[str, Any]) -> Iterator[int]:
    for part in tree.values():
        yield from _leaves(part) if isinstance(part, dict) else (part,)


# How a layer is made, as text: its class with the arguments that are not the defaults, by name


@lru_cache(maxsize=1000)
def _parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _call(node: Node) -> ast.Call | None:
    """The call that makes a node's module, as its operator writes it; None for what has none."""
    if not node.inputs:
        return None
    tree = _parsed(form(node.op, node.x))
    if node.op.joins:
        tree = tree.func if isinstance(tree, ast.Call) else tree
    return tree if isinstance(tree, ast.Call) else None


def _classes(graph: Graph) -> dict[str, Kind]:
    """The classes of a network's layers by name."""
    kinds: dict[str, Kind] = {}
    for node in graph.nodes:
        if call := _call(node):
            kinds.setdefault(ast.unparse(call.func), Kind(ast.unparse(call.func))).learn(node, call)
    return kinds


def _made(node: Node, kinds: Mapping[str, Callable[..., str]]) -> str:
    """How a node's layer is made, "" where it has none."""
    call = _call(node)
    if call is None:
        return ""
    placed, keywords = _arguments(node, call)
    return kinds[ast.unparse(call.func)](*placed.values(), **keywords)


class Kind:
    """A class of layers: the names of its arguments in order, and their kinds and defaults."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.places: list[str] = []
        self.fields: dict[str, Field[Any]] = {}
        self.known: set[type] = set()

    def learn(self, node: Node, call: ast.Call) -> None:
        """What an operator's text says of it."""
        if type(node.op) not in self.known:
            self.known.add(type(node.op))
            placed, keywords = _arguments(node, call)
            self.places = max(self.places, [*placed, *keywords], key=_told)
            self.fields |= {field.name: field for field in declared(type(node.op))}

    def __call__(self, *args: Any, **keywords: Any) -> str:
        """A layer with these arguments, as text."""
        placed = dict(zip(self.places, args, strict=False))
        if len(placed) < len(args) or placed.keys() & keywords.keys():
            raise Unlike(f"arguments of {self.word}")
        given = {key: self.plain(key, value) for key, value in (placed | keywords).items()}
        said = [f"{key}={value}" for key, value in sorted(given.items()) if value != self.default(key)]
        return f"{self.word}({', '.join(said)})"

    def default(self, key: str) -> str:
        """What an argument is where nothing is given."""
        return self.plain(key, self.fields[key].default) if key in self.fields else ""

    def plain(self, key: str, value: Any) -> str:
        """An argument as text, the same for all that means the same."""
        kind = str(self.fields[key].type).partition(" | ")[0] if key in self.fields else ""
        if kind in LENGTHS and type(value) is tuple and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        return repr(float(value) if kind in NUMBERS and type(value) is int else value)


def _told(places: Sequence[str]) -> tuple[int, int]:
    """What is known best is preferred: all arguments, each by its name."""
    return len(places), -sum(place.isdigit() for place in places)


def _arguments(node: Node, call: ast.Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments that an operator's text places, and those that it names or leaves to the spec."""
    op, x = node.op, node.output if node.op.joins else node.x
    values = {field.name: getattr(op, field.name) for field in declared(type(op)) if field.name != "inplace"}
    known = {"in_channels": x[0], "in_features": x[-1], "in_shape": x if len(x) > 1 else x[0]}
    named = {part.id for part in ast.walk(call) if isinstance(part, ast.Name)} | {str(k.arg) for k in call.keywords}
    placed: dict[str, Any] = {}
    keywords: dict[str, Any] = {}
    for position, arg in enumerate(call.args):
        if isinstance(arg, ast.Name):
            placed[arg.id] = known[arg.id] if arg.id in known else values[arg.id]
        elif isinstance(arg, ast.Constant) and arg.value is ...:
            keywords |= {key: value for key, value in values.items() if key not in named}
        else:
            placed[str(position)] = ast.literal_eval(arg)
    for keyword in call.keywords:
        open_ = isinstance(keyword.value, ast.Constant) and keyword.value.value is ...
        keywords[str(keyword.arg)] = values[str(keyword.arg)] if open_ else ast.literal_eval(keyword.value)
    return placed, keywords
