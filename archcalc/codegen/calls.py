"""Translate a spec's calls in their context: blocks with arguments, and operators as calls of PyTorch modules."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from itertools import repeat
from types import MappingProxyType
from typing import Any

from archcalc.analysis.once_per_graph import of_batch
from archcalc.codegen import trees
from archcalc.codegen.expressions import Context, Labelled, Reader, undivided
from archcalc.codegen.facts import Facts, arguments, fields, one
from archcalc.graph.graph import Graph
from archcalc.ops import REGISTRY, Operator
from archcalc.spec.functions import DIMENSIONS, Reference
from archcalc.spec.layers import Call, Join, Label
from archcalc.spec.network_spec import Block

LENGTHS = (  # one number or two; all except the first also take a list of one
    "Sides", "Size", "Margin", "Padding", "Borders", "Shifts", "Scales",
)  # fmt: skip
REAL = ("Real", "PositiveReal", "Probability")  # annotations of arguments that can be any number
SIGNS: dict[str, ast.operator] = {  # of joins, by their class or function
    "Sum": ast.Add(), "Mean": ast.Add(), "torch.mul": ast.Mult(), "torch.sub": ast.Sub(), "torch.div": ast.Div(),
}  # fmt: skip


def fill(
    text: str, written: Mapping[str, ast.expr], shapes: set[Any], channels: ast.expr, last: ast.expr | None = None
) -> ast.Call:
    """Fill an operator's text with its written arguments, for inputs with these channels and shapes.

    Of a join, `channels` are those of the first branch, `last` those of the last one.
    """
    given = {
        "in_channels": lambda: channels,
        "last_channels": lambda: last or channels,
        "in_features": lambda: last_of(shapes, channels),
        "in_shape": lambda: trees.listed(shape_of(shapes, channels)),
    }

    def argument(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Name):
            return node
        return given[node.id]() if node.id in given else written.get(node.id)

    form: Any = ast.parse(text, mode="eval").body
    keywords = {str(keyword.arg): argument(keyword.value) for keyword in form.keywords}
    args = [made for arg in form.args if (made := argument(arg)) is not None]
    return trees.call(form.func, *args, **{key: made for key, made in keywords.items() if made is not None})


def shape_of(shapes: set[Any], channels: ast.expr) -> list[ast.expr]:
    """Return an input's shape. Raises Unstructured if lengths differ between runs of the step."""
    lengths = [*map(trees.const, one({shape.lengths for shape in shapes}, "a height or width"))]
    return [*lengths, channels] if all(shape.axes.endswith("C") for shape in shapes) else [channels, *lengths]


def last_of(shapes: set[Any], channels: ast.expr) -> ast.expr:
    """Return the last size of the input. Raises Unstructured if it is a width that differs between runs."""
    if all(shape.axes.endswith("C") for shape in shapes):
        return channels
    return trees.const(one({shape.last for shape in shapes}, "a height or width"))


def not_default(cls: type[Operator], values: Mapping[str, ast.expr], in_place: bool) -> dict[str, ast.expr]:
    """Return the arguments that differ from the defaults, and `inplace` as `in_place` says; one number equals two."""
    changed = {
        own: tree for own, tree in values.items()
        if own != "inplace" and not (trees.known(tree) and _is(ast.literal_eval(tree), cls.defaults[own]))
    }  # fmt: skip
    return changed | ({"inplace": trees.const(True)} if in_place else {})


def _is(value: object, default: object) -> bool:
    each = value if type(value) is tuple else (value,)
    return value == default or (type(default) is tuple and {*default} == {*each})


def joined(text: str, tensors: ast.List | ast.ListComp, keep: Callable[[], ast.expr]) -> ast.expr:
    """Return the join of tensors, or of a list of outputs; `keep` makes its module an attribute if it needs one."""
    form: Any = ast.parse(text, mode="eval").body
    kind = ast.unparse(form.args[0] if form.func.id == "Elementwise" else form.func)
    views = [ast.literal_eval(keyword.value) for keyword in form.keywords if keyword.arg == "views"]
    if text == "Concat()":
        return trees.call("torch.cat", tensors, dim=trees.const(1))
    if isinstance(tensors, ast.ListComp):
        if kind not in ("Sum", "Mean") or views:
            return trees.call(keep(), ast.Starred(tensors, ast.Load()))
        made: ast.expr = trees.call("sum", ast.GeneratorExp(tensors.elt, tensors.generators))
        count: ast.expr = trees.call("len", tensors.generators[0].iter)
    elif kind not in SIGNS and kind != "torch.maximum":
        return trees.call(keep(), *tensors.elts)
    elif len(tensors.elts) == 1:
        return trees.call(trees.attribute(tensors.elts[0], "clone"))
    else:
        made = reduce(partial(_applied, kind), map(_viewed, tensors.elts, *views or [repeat(None)]))
        count = trees.const(len(tensors.elts))
    return ast.BinOp(made, ast.Div(), count) if kind == "Mean" else made


def _applied(kind: str, left: ast.expr, right: ast.expr) -> ast.expr:
    return ast.BinOp(left, SIGNS[kind], right) if kind in SIGNS else trees.call(kind, left, right)


def _viewed(tensor: ast.expr, view: tuple[int, ...] | None) -> ast.expr:
    return trees.call(trees.attribute(tensor, "unflatten"), trees.const(1), trees.const(view)) if view else tensor


def join_text(graph: Graph, positions: Iterable[int]) -> str:
    """Return the text of some joins.

    A mean that drops branches needs a module, so it is marked, and so does a concatenation of what all images share.
    """
    batched, found = of_batch(graph), set()
    for position in positions:
        node = graph.nodes[position]
        text = ("Dropping" if getattr(node.op, "p", 0) else "") + node.op.pytorch(node.x)
        shared = text == "Concat()" and len({batched[i] for i in node.inputs}) > 1
        found.add("Concat(1)" if shared else text)
    return str(one(found, "a join"))


class Calls:
    """Translates calls: to a block or operator with arguments, and to the text of an operator."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        calls = [(block, plan) for plan in facts.plans for block in facts.callees(plan)]
        self.given = {(block.name, own) for block, plan in calls for own in arguments(block.parameters, plan)}

    def target(self, plan: Call, context: Context) -> Block | type[Operator]:
        """Return the block or operator that a call names."""
        named = context.names.get(plan.name, trees.const(Reference(plan.name)))
        if not isinstance(named, ast.Constant) or not isinstance(named.value, Reference):
            raise trees.Unstructured(f"{plan.name} is not known")
        own = named.value.name
        return self.facts.spec.blocks[own] if own in self.facts.spec.blocks else REGISTRY[own]

    # Blocks

    def bind(self, block: Block, plan: Call, context: Context) -> dict[str, ast.expr]:
        """Return the arguments of a call by parameter, with defaults for the others."""
        reader, given = Reader(self.facts, plan, context), self.facts.trace.given
        values, tensors = {}, self.facts.tensors(plan)
        for parameter, argument in arguments(block.parameters, plan).items():
            if parameter in tensors:
                continue
            runs = trees.const(tuple(given.get((plan.place[1:], parameter), ())))
            whole = all(isinstance(leaf.value, int) for leaf in ast.walk(runs) if isinstance(leaf, ast.Constant))
            values[parameter] = reader.value(argument.value.tree, whole)
            if trees.operations(values[parameter]) > trees.MOST_OPERATIONS:  # nested arguments double fast
                raise trees.Unstructured("an argument is too long to read")
        for parameter, default in block.parameters:
            if default and parameter not in values and parameter not in tensors:
                inner = Reader(self.facts, block.body, self.inside(block, values, context))
                values[parameter] = undivided(inner.value(default.tree))
        return {parameter: values[parameter] for parameter, _ in block.parameters if parameter in values}

    def inside(
        self, block: Block, values: Mapping[str, ast.expr], outside: Context | None = None,
        given: Mapping[str, Labelled] = MappingProxyType({}),
    ) -> Context:  # fmt: skip
        """Return the context of a block's body, inline at its call or as a class, with the labels that it is given."""
        parameters = frozenset(parameter for parameter, _ in block.parameters if parameter in values)
        channels, labels = (outside.channels, {**outside.labels}) if outside else (trees.IN_CHANNELS, {})
        return Context({**self.facts.base(), **values}, parameters, channels, {**labels, **given})

    def symbols(self, block: Block, values: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
        """Return the parameters of a block as its own code names them.

        A parameter that names a block is replaced by that block, and one whose default no call changes by the default.
        """
        names = {own: tree for own, tree in values.items() if any(trees.references(tree))}
        for own, default in block.parameters:
            if own not in values:
                continue
            if default and own not in names and (block.name, own) not in self.given:
                names[own] = Reader(self.facts, block.body, self.inside(block, names)).value(default.tree)
            names.setdefault(own, trees.name(self.facts.names.python(own)))
        return names

    def constant(self, default: Any) -> ast.expr | None:
        """Return a default without names; otherwise None, so that each call gives the argument."""
        if default is None or trees.names_in(default.tree):
            return None
        made = Reader(self.facts, None, Context({}, frozenset(), trees.UNKNOWN, {})).value(default.tree)
        return made if trees.known(made) else None

    # Operators

    def module(self, plan: Call, cls: type[Operator], context: Context) -> ast.Call:
        """Return the call that creates an operator's module, for the channels of the context."""
        nodes = self.facts.nodes(plan.place, cls.name)
        tied = [bool(node.shared and node.shared.tensor) for _, node in nodes]
        text = one(
            {cls.tied if own else node.op.pytorch(node.x) for own, (_, node) in zip(tied, nodes, strict=True)}, cls.name
        )
        in_place = all(getattr(node.op, "inplace", False) and i in self.facts.in_place for i, node in nodes)
        written = not_default(cls, self.written(plan, cls, context), in_place)
        return fill(text, written, {node.x for _, node in nodes}, context.channels)

    def written(self, plan: Call | Join, cls: type[Operator], context: Context) -> dict[str, ast.expr]:
        """Return the arguments as the spec writes them."""
        kinds, reader = fields(cls), Reader(self.facts, plan, context)
        written = arguments(kinds.items(), plan)
        values = {own: reader.value(a.value.tree, kinds[own] not in REAL) for own, a in written.items()}
        return {own: self._length(tree) if kinds[own] in LENGTHS[1:] else tree for own, tree in values.items()}

    def _length(self, tree: ast.expr) -> ast.expr:
        """Return one length or two. A spec accepts a list of one number as that number, but PyTorch does not."""
        if isinstance(tree, ast.Tuple) and len(tree.elts) == 1 and not isinstance(tree.elts[0], ast.Tuple):
            return tree.elts[0]
        number = isinstance(tree, ast.BinOp) and not isinstance(tree.op, ast.Add | ast.Mult)
        if not trees.known(tree) and not number and self.facts.lists_of_one:
            raise trees.Unstructured("a list that may have one number")
        return tree

    def channels(self, plan: Call, cls: type[Operator], context: Context) -> ast.expr:
        """Return the first dimension of an operator's output as a formula."""
        written = arguments(fields(cls).items(), plan)
        nodes = [node for _, node in self.facts.nodes(plan.place, cls.name)]
        names = ["out_channels", "out_features", "embedding_dim", *["hidden_size"] * ("bidirectional" not in written)]
        names += [] if cls.needs_input else ["C"]
        own = next((name for name in names if name in written), "")
        if own and (own != "out_features" or all(node.x.axes.endswith("C") for node in nodes)):
            return Reader(self.facts, plan, context).value(written[own].value.tree, True)
        if all(node.x.lengths and not node.output.lengths for node in nodes):
            lengths = one({node.x.lengths for node in nodes}, "a height or width")
            sizes = [trees.const(length) for length in lengths if length > 1]
            return reduce(lambda left, right: ast.BinOp(left, ast.Mult(), right), sizes, context.channels)
        if not cls.needs_input:
            return trees.const(one({node.output.channels for node in nodes}, "a number of channels"))
        parts = {divmod(node.x.channels, node.output.channels) for node in nodes}  # of chunk, glu or pixel_shuffle
        if len(parts) > 1 or next(iter(parts))[1]:
            return trees.UNKNOWN
        part, _ = parts.pop()
        return context.channels if part == 1 else trees.binary(context.channels, ast.FloorDiv(), trees.const(part))

    def weight(self, plan: Call, context: Context) -> list[ast.expr]:
        """Return the weight of another layer that an operator takes."""
        labels = self.facts.tensors(plan).values()
        if not labels:
            return []
        steps = [context.label(label) for label in labels]
        bodies = [own.body for own in self.facts.plans if isinstance(own, Label) and own.name in labels]
        single = all(isinstance(body, Call) and body.name in REGISTRY for body in bodies)
        if not single or not all(step.module for step in steps):
            raise trees.Unstructured("a weight of a layer that is not alone under its label")
        return [trees.attribute(step.module, "weight") for step in steps if step.module]

    def adds_channels(self, plan: Join) -> bool:
        """Whether the channels of a join are those of its branches together."""
        axes = {getattr(node.op, "axis", "") for _, node in self.facts.nodes(plan.place, plan.name)}
        return bool(one(axes, "the axis of a join") == "C")

    def join(self, plan: Join, context: Context, ends: Sequence[ast.expr]) -> tuple[str, ast.Call]:
        """Return the text of a join, and its module, for branches with these channels."""
        text = join_text(self.facts.graph, [i for i, _ in self.facts.nodes(plan.place, plan.name)])
        if trees.names_in(*(argument.value.tree for argument in (*plan.positional, *plan.named))) & {*DIMENSIONS}:
            raise trees.Unstructured("a join's argument mentions its input")
        cls = REGISTRY[plan.name]
        written = not_default(cls, self.written(plan, cls, context), False)
        return text, fill(text.removeprefix("Dropping"), written, set(), ends[0], ends[-1])

    def joined_channels(self, plan: Join, outs: Sequence[ast.expr]) -> ast.expr:
        """Return the channels of a join of branches with the channels `outs`."""
        if REGISTRY[plan.name].whole or REGISTRY[plan.name].of_shape:
            return outs[0]
        if self.adds_channels(plan):
            return reduce(lambda left, right: trees.binary(left, ast.Add(), right), outs)
        nodes = [node for _, node in self.facts.nodes(plan.place, plan.name)]
        as_wide = [[shape.channels == node.output.channels for shape in node.x] for node in nodes]
        widest = map(all, zip(*as_wide, strict=True))
        known = [out for out, own in zip(outs, widest, strict=True) if own and not trees.unknown(out)]
        return min(known or [trees.UNKNOWN], key=trees.operations)
