"""Operators as calls of PyTorch's modules: each says itself how it is written (`pytorch`), here that is filled in."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from archcalc.analysis.in_place import in_place
from archcalc.codegen.symbols import Unstructured, call, const, is_number, rebuilt
from archcalc.codegen.values import Site
from archcalc.graph import Graph
from archcalc.language.plan import Call, Join
from archcalc.ops import Operator
from archcalc.ops.base import declared

POSITIONAL = 4  # arguments without their names, as in Conv2d(3, 64, 7, 2): few know the order of those behind


class Input(Protocol):
    """Where an operator stands: what is known of its input."""

    def first(self) -> ast.expr:
        """Its first dimension."""

    def last(self) -> ast.expr:
        """Its last dimension."""

    def shape(self) -> ast.expr:
        """Its shape; of a vector the length."""


class Written(NamedTuple):
    """An operator's arguments as the spec writes them."""

    values: dict[str, ast.expr]
    positional: frozenset[str]


def written(op: Operator, plan: Call | Join, site: Site) -> Written:
    """The arguments that say more than the defaults do."""
    fields = declared(type(op))
    placed = {field.name: argument for field, argument in zip(fields, plan.positional, strict=False)}
    arguments = placed | {argument.keyword: argument for argument in plan.named}
    values = {key: site.value(argument.value) for key, argument in arguments.items()}
    defaults = {field.name: field.default for field in fields}
    said = {key: value for key, value in values.items() if not _says(value, defaults[key])}
    return Written(said, frozenset(placed))


def _says(value: ast.expr, default: object) -> bool:
    """Whether a written value is the default; one number stands for two."""
    if not isinstance(value, ast.Constant | ast.Tuple):
        return False
    literal = ast.literal_eval(value)
    return literal == default or (type(literal) is int and (literal, literal) == default)


def channels(op: Operator, args: Written, site: Site) -> ast.expr | None:
    """The output's first dimension."""
    runs = site.runs
    if "out_channels" in args.values:
        return args.values["out_channels"]
    if len(runs[0].x) > len(runs[0].output) == 1:
        made = site.first()
        for axis in range(1, len(runs[0].x)):
            length = site.observed(axis)
            made = made if is_number(length, 1) else ast.BinOp(made, ast.Mult(), length)
        return made
    if "out_features" in args.values and len(runs[0].x) == 1:
        return args.values["out_features"]
    return site.channels if all(run.x[0] == run.output[0] for run in runs) else None


def module(op: Operator, args: Written, site: Site, in_place: bool) -> ast.expr:
    """The call that makes an operator's module."""
    sources = {
        form(run_op, run.x) for run_op, run in zip(site.unit.program.operators(site.runs), site.runs, strict=True)
    }
    if len(sources) > 1:
        raise Unstructured(f"{op.name} is sometimes {' and sometimes '.join(sorted(sources))}")
    return fill(sources.pop(), op, args, site, in_place)


INLINE = {"Sum()": "a + b", "Product()": "a * b", "Concat()": "torch.cat([*inputs], dim=1)"}


def form(op: Operator, x: Any) -> str:
    """An operator's text with `...` for the arguments that it names as the spec does; a join as an expression."""
    text = op.pytorch(x)
    if op.joins:
        drops = text == "Mean(p)" and getattr(op, "p", False)
        made = "Mean(p)(*inputs)" if drops else INLINE.get(text, "(a + b) / len(inputs)")
        return made if drops or text == "Concat()" or len(x) > 1 else "a.clone()"
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call)
    names = {field.name for field in declared(type(op))}
    own = [k for k in node.keywords if not isinstance(k.value, ast.Name)]
    if names <= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}:
        fixed = [i for i, arg in enumerate(node.args) if not (isinstance(arg, ast.Name) and arg.id in names)]
        args = node.args[: fixed[-1] + 1] if fixed else []
        rest = [const_open()] if names - {arg.id for arg in args if isinstance(arg, ast.Name)} else []
        return ast.unparse(ast.Call(node.func, [*args, *rest], own))
    keywords = [ast.keyword(k.arg, const_open()) for k in node.keywords]
    return ast.unparse(ast.Call(node.func, node.args, own or keywords))


def const_open() -> ast.expr:
    """`...`."""
    return ast.Constant(...)


def fill(source: str, op: Operator, args: Written, site: Input, in_place: bool = False) -> ast.expr:
    """An operator's text with its arguments."""
    template = ast.parse(source, mode="eval").body
    assert isinstance(template, ast.Call)
    return _Filling(op, args, site).call(template, in_place)


class _Filling:
    def __init__(self, op: Operator, args: Written, site: Input) -> None:
        self.op = op
        self.args = args
        self.names = [field.name for field in declared(type(op))]
        self.known: dict[str, Callable[[], ast.expr]] = {
            "in_channels": site.first,
            "in_features": site.last,
            "in_shape": site.shape,
        }

    def call(self, template: ast.Call, in_place: bool) -> ast.expr:
        """The template filled in."""
        consumed = {part.id for part in ast.walk(template) if isinstance(part, ast.Name)} | {"inplace"}
        consumed |= {str(keyword.arg) for keyword in template.keywords}
        args: list[ast.expr] = []
        keywords: dict[str, ast.expr] = {}
        for arg in template.args:
            if _is_open(arg):
                self.rest(args, keywords, consumed)
            else:
                args.append(self.one(arg))
        for keyword in template.keywords:
            if not _is_open(keyword.value):
                keywords[str(keyword.arg)] = keyword.value
            elif keyword.arg in self.args.values:
                keywords[keyword.arg] = self.field(keyword.arg)
        if in_place:
            keywords["inplace"] = const(True)
        return call(template.func, *args, **keywords)

    def one(self, arg: ast.expr) -> ast.expr:
        """An argument that the template names."""
        if not isinstance(arg, ast.Name):
            return arg
        return self.known[arg.id]() if arg.id in self.known else self.field(arg.id)

    def rest(self, args: list[ast.expr], keywords: dict[str, ast.expr], consumed: set[str]) -> None:
        """The arguments that the template does not name, by position as long as the spec has them so."""
        gap = False
        for key in self.names:
            if key in consumed:
                continue
            if key not in self.args.values:
                gap = True
            elif gap or key not in self.args.positional or len(args) >= POSITIONAL:
                keywords[key] = self.field(key)
            else:
                args.append(self.field(key))

    def field(self, key: str) -> ast.expr:
        """A written argument; as a default if it is none."""
        if key not in self.args.values:
            return const(getattr(self.op, key))
        return self.args.values[key]


def _is_open(node: ast.expr) -> bool:
    """Whether a template leaves a place open, with `...`."""
    return isinstance(node, ast.Constant) and node.value is ...


def joined(template: ast.expr, tensors: Sequence[ast.expr]) -> ast.expr:
    """A join's text with its inputs."""

    def change(part: Any) -> Any:
        if isinstance(part, ast.BinOp) and isinstance(part.left, ast.Name):
            made = tensors[0]
            for tensor in tensors[1:]:
                made = ast.BinOp(made, part.op, tensor)
            return made
        if isinstance(part, ast.List):
            return ast.List(list(tensors), ast.Load())
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "len":
            return const(len(tensors))
        return tensors[0] if isinstance(part, ast.Name) and part.id == "a" else rebuilt(part, change)

    made: ast.expr = change(template)
    return made


def joined_each(template: ast.expr, each: ast.ListComp, modules: ast.expr) -> ast.expr:
    """A join's text with an input for each of some modules. Raises Unstructured for what is no sum."""

    def change(part: Any) -> Any:
        if isinstance(part, ast.BinOp) and isinstance(part.left, ast.Name) and isinstance(part.op, ast.Add):
            return call("sum", ast.GeneratorExp(each.elt, each.generators))
        if isinstance(part, ast.List):
            return each
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "len":
            return call("len", modules)
        if isinstance(part, ast.Name) and part.id != "torch":
            raise Unstructured("a join over a loop")
        return rebuilt(part, change)

    made: ast.expr = change(template)
    return made


def may_overwrite(graph: Graph) -> set[int]:
    """Nodes that may work in place in training and at inference."""
    training = in_place(graph, True)
    inference = iter(in_place(graph.without_sides(), False))
    return {i for i, node in enumerate(graph.nodes) if training[i] & (node.side or next(inference))}
