"""The expression language: a closed subset of Python, read by the standard library's `ast`, never evaluated by it.

An expression becomes a function of the names in scope, once; running it costs little. Allowed are literals, names,
lists, arithmetic, comparisons, `and or not`, `a if c else b`, indexing, comprehensions and the functions below. There
are no attributes, no imports and no calls of anything else. Numbers stay below 2⁶³, lists below MAX_LEAVES values, and
all work is drawn from one `Budget`, so that no spec can hang or exhaust memory.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from archcalc.errors import SpecError, shorten, suggest
from archcalc.language.source import Scalar, Sequence, Value
from archcalc.ops.arguments import show

MAX_TEXT = 10_000  # characters of one expression
MAX_DEPTH = 60  # nested sub-expressions
MAX_LEAVES = 100_000  # values in a list, those of inner lists included
MAX_STEPS = 1_000_000  # loop rounds, block calls and layers in one network
LIMIT = 2**63

Evaluate: TypeAlias = Callable[["Names"], Any]
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_ \n.,:()\[\]+\-*/%<>=!|'\"]")
_WORDS = {"true": True, "false": False, "null": None}  # YAML's spelling


class Fault(Exception):
    """A value that the language refuses; the text says why."""


class Budget:
    """What is left of the work one spec may cause."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Take `steps` off. Raises Fault when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise Fault(f"takes more than {MAX_STEPS:,} steps to expand")


@dataclass(frozen=True, slots=True)
class Reference:
    """A block or operator named where a value stands, as in `block: bottleneck`."""

    name: str

    def __str__(self) -> str:
        return self.name


class Names(dict[str, Any]):
    """The names an expression sees: values by name, then the input's dimensions, then blocks and operators."""

    __slots__ = ("budget", "library", "shape")

    def __init__(self, values: Mapping[str, Any], library: Mapping[str, object], budget: Budget) -> None:
        super().__init__(values)
        self.library = library
        self.budget = budget
        self.shape: tuple[int, ...] = ()

    def inner(self, values: Mapping[str, Any]) -> Names:
        """These names with some more in front."""
        names = Names(self, self.library, self.budget)
        names.update(values)
        names.shape = self.shape
        return names

    def __missing__(self, name: str) -> Any:
        if name in DIMENSIONS and len(self.shape) > DIMENSIONS[name]:
            return self.shape[DIMENSIONS[name]]
        if name in self.library:
            return Reference(name)
        raise KeyError(name)

    def known(self) -> list[str]:
        """All names, for a suggestion."""
        return [*self, *self.library, *FUNCTIONS, *DIMENSIONS]


DIMENSIONS = {"in_channels": 0, "in_height": 1, "in_width": 2}


def leaves(value: Any, limit: int = MAX_LEAVES) -> int:
    """How many values a list holds, inner lists included. Raises Fault above `limit`."""
    if not isinstance(value, tuple):
        return 1
    count = 1
    for item in value:
        count += leaves(item, limit - count)
        if count > limit:
            raise Fault(f"a list of more than {MAX_LEAVES:,} values")
    return count


def number(value: Any) -> Any:
    """`value` if it is a number within bounds. Raises Fault."""
    if isinstance(value, int):
        if -LIMIT < value < LIMIT:
            return value
        raise Fault("a number beyond 2^63")
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Fault("not a finite real number")


def divide(left: Any, right: Any) -> Any:
    """Exact where it is whole: 6 / 3 is the integer 2, 7 / 2 is 3.5."""
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def power(left: Any, right: Any) -> Any:
    """`left ** right`, refused before it grows beyond bounds."""
    if isinstance(left, int) and abs(left) > 1 and right > 64:
        raise Fault("a number beyond 2^63")
    return left**right


def multiply(left: Any, right: Any) -> Any:
    """A product of numbers, or a list repeated: `[64] * 3`."""
    if isinstance(left, tuple) and type(right) is int:
        if leaves(left) * max(right, 0) > MAX_LEAVES:
            raise Fault(f"a list of more than {MAX_LEAVES:,} values")
        return left * right
    return left * right


def span(*bounds: int) -> tuple[int, ...]:
    """`range` as a list of bearable length."""
    counts = range(*bounds)
    if len(counts) > MAX_LEAVES:
        raise Fault(f"a range of more than {MAX_LEAVES:,} values")
    return tuple(counts)


def integer(value: Any) -> int:
    """A number cut to its whole part."""
    if isinstance(value, str):
        raise Fault("wants a number")
    return int(value)


ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: multiply,
    ast.Div: divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
}
COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "enumerate": lambda items: tuple(enumerate(items)),
    "int": integer,
    "len": len,
    "max": max,
    "min": min,
    "range": span,
    "round": round,
    "sum": sum,
    "zip": lambda *lists: tuple(zip(*lists, strict=True)),
}
_FAULTS = (Fault, TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError, AttributeError)


@lru_cache(maxsize=4096)
def _parse(text: str) -> ast.expr | None:
    """The syntax tree, or None where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's advice on literals is for Python's authors
        try:
            return ast.parse(text.replace("\n", " ").strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


class Expression:
    """One scalar as a syntax tree that knows its places; compiles values, and is the base for compiling layers."""

    def __init__(self, scalar: Scalar, mentions: set[str] | None = None) -> None:
        self.scalar = scalar
        self.mentions = mentions if mentions is not None else set()
        self.margin = len(scalar.text) - len(scalar.text.lstrip())
        self.depth = 0
        text = scalar.text
        if not text.strip():
            raise SpecError("an expression is missing here", scalar.place)
        if len(text) > MAX_TEXT:
            raise SpecError(f"an expression of {len(text):,} characters; {MAX_TEXT:,} are allowed", scalar.place)
        strange = _FORBIDDEN.search(text)
        if strange:
            place = scalar.at(strange.start(), strange.end())
            raise SpecError(f"{strange.group()!r} is not part of the expression language", place)
        tree = _parse(text)
        if tree is None:
            raise SpecError(f"not an expression: {shorten(text)}", scalar.place, _syntax_hint(text))
        self.tree = tree

    def place(self, node: ast.AST) -> Any:
        """Where a node of the tree stands."""
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 1) or 1
        return self.scalar.at(start + self.margin, end + self.margin)

    def error(self, node: ast.AST, message: str, hint: str = "") -> SpecError:
        """An error at a node."""
        return SpecError(message, self.place(node), hint)

    def value(self, node: ast.expr | None = None) -> Evaluate:
        """The function that computes this value. Raises SpecError for what the language does not have."""
        node = self.tree if node is None else node
        compiler = getattr(self, f"_{type(node).__name__.lower()}", None)
        if compiler is None:
            raise self.error(node, f"{_title(node)} is not part of the expression language")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(node, f"an expression nested more than {MAX_DEPTH} deep")
        run: Evaluate = compiler(node)
        self.depth -= 1
        return run

    def _guard(self, node: ast.AST, compute: Evaluate) -> Evaluate:
        """`compute`, with its faults told at the node's place."""

        def run(names: Names) -> Any:
            try:
                return compute(names)
            except _FAULTS as fault:
                raise self.error(node, f"{self._written(node)}: {_fault_text(fault)}") from None

        return run

    def _written(self, node: ast.AST) -> str:
        return shorten(ast.unparse(node))

    def _constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        if isinstance(value, complex | bytes) or value is ...:
            raise self.error(node, f"{shorten(str(value))} is not part of the expression language")
        if isinstance(value, int | float) and (not math.isfinite(value) or abs(value) >= LIMIT):
            raise self.error(node, f"{self._written(node)} is too large a number; numbers stay below 2^63")
        return lambda names: value

    def _name(self, node: ast.Name) -> Evaluate:
        key = node.id
        self.mentions.add(key)

        def run(names: Names) -> Any:
            try:
                return names[key]
            except KeyError:
                raise self._unknown(node, names) from None

        return run

    def _unknown(self, node: ast.Name, names: Names) -> SpecError:
        if node.id in DIMENSIONS:
            return self.error(node, f"{node.id}: the input here has only {len(names.shape)} dimension(s)")
        if node.id in _WORDS:
            return self.error(node, f"unknown name {node.id}", f"write {_WORDS[node.id]}")
        return self.error(node, f"unknown name {shorten(node.id)}", suggest(node.id, names.known()))

    def _list(self, node: ast.List | ast.Tuple) -> Evaluate:
        items = [self.value(item) for item in node.elts]

        def run(names: Names) -> Any:
            made = tuple(item(names) for item in items)
            names.budget.spend(leaves(made))
            return made

        return self._guard(node, run)

    _tuple = _list

    def _unaryop(self, node: ast.UnaryOp) -> Evaluate:
        operand = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda names: not operand(names)
        if isinstance(node.op, ast.USub):
            return self._guard(node, lambda names: number(-_numeric(operand(names))))
        return self._guard(node, lambda names: _numeric(operand(names)))

    def _binop(self, node: ast.BinOp) -> Evaluate:
        compute = ARITHMETIC.get(type(node.op))
        if compute is None:
            hint = "`|` joins layers, and this is a value" if isinstance(node.op, ast.BitOr) else ""
            raise self.error(node, f"{self._written(node)}: this operator is not part of the expression language", hint)
        left, right = self.value(node.left), self.value(node.right)

        def run(names: Names) -> Any:
            a, b = left(names), right(names)
            if isinstance(a, tuple):
                made = compute(a, b)
                names.budget.spend(leaves(made))
                return made
            return number(compute(_numeric(a), _numeric(b)))

        return self._guard(node, run)

    def _boolop(self, node: ast.BoolOp) -> Evaluate:
        operands = [self.value(operand) for operand in node.values]
        if isinstance(node.op, ast.And):
            return lambda names: all(operand(names) for operand in operands)
        return lambda names: any(operand(names) for operand in operands)

    def _compare(self, node: ast.Compare) -> Evaluate:
        first = self.value(node.left)
        others = [self.value(other) for other in node.comparators]
        tests = [COMPARISONS.get(type(op)) for op in node.ops]
        if None in tests:
            raise self.error(node, "`is` is not part of the expression language", "compare with ==")

        def run(names: Names) -> bool:
            left = first(names)
            for test, other in zip(tests, others, strict=True):
                right = other(names)
                if test is not None and not test(left, right):
                    return False
                left = right
            return True

        return self._guard(node, run)

    def _ifexp(self, node: ast.IfExp) -> Evaluate:
        test, yes, no = self.value(node.test), self.value(node.body), self.value(node.orelse)
        return lambda names: yes(names) if test(names) else no(names)

    def _subscript(self, node: ast.Subscript) -> Evaluate:
        whole = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            bounds = [self.value(b) if b else None for b in (node.slice.lower, node.slice.upper, node.slice.step)]
            index: Evaluate = lambda names: slice(*(b(names) if b else None for b in bounds))  # noqa: E731  # one of two forms
        else:
            index = self.value(node.slice)
        return self._guard(node, lambda names: whole(names)[index(names)])

    def _call(self, node: ast.Call) -> Evaluate:
        if not isinstance(node.func, ast.Name):
            raise self.error(node.func, "only operators, blocks and functions can be called, by name")
        function = FUNCTIONS.get(node.func.id)
        if function is None:
            hint = suggest(node.func.id, FUNCTIONS)
            raise self.error(node, f"{shorten(node.func.id)} is not a function of values", hint)
        if node.keywords:
            raise self.error(node, f"{node.func.id} takes no keywords")
        args = [self.value(arg) for arg in node.args]

        def run(names: Names) -> Any:
            made = function(*(arg(names) for arg in args))
            names.budget.spend(leaves(made))
            return number(made) if isinstance(made, int | float) else made

        return self._guard(node, run)

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Evaluate:
        item = self.value(node.elt)
        rounds = self.rounds(node)

        def run(names: Names) -> Any:
            made = tuple(item(inner) for inner in rounds(names))
            leaves(made)
            return made

        return self._guard(node, run)

    _generatorexp = _listcomp

    def rounds(self, node: ast.ListComp | ast.GeneratorExp) -> Callable[[Names], Iterator[Names]]:
        """The names of each round of a comprehension, in order."""
        loops = [(loop, self.value(loop.iter), [self.value(test) for test in loop.ifs]) for loop in node.generators]

        def walk(names: Names, level: int) -> Iterator[Names]:
            if level == len(loops):
                yield names
                return
            loop, items, tests = loops[level]
            for item in items(names):
                names.budget.spend()
                inner = names.inner(_unpack(loop.target, item))
                if all(test(inner) for test in tests):
                    yield from walk(inner, level + 1)

        return lambda names: walk(names, 0)

    def _starred(self, node: ast.Starred) -> Evaluate:
        raise self.error(node, "* in front of a list is not part of the expression language")


def _unpack(target: ast.expr, item: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: item}
    if isinstance(target, ast.Tuple) and isinstance(item, tuple) and len(target.elts) == len(item):
        pairs = [_unpack(part, value) for part, value in zip(target.elts, item, strict=True)]
        return {name: value for part in pairs for name, value in part.items()}
    raise Fault(f"cannot give {show(item)} to {ast.unparse(target)}")


def _numeric(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault(f"wants numbers, not {show(value)}")
    return value


def _fault_text(fault: Exception) -> str:
    if isinstance(fault, ZeroDivisionError):
        return "division by zero"
    if isinstance(fault, IndexError):
        return "no item at that index"
    return str(fault) if isinstance(fault, Fault) else "these values do not go together"


def _title(node: ast.AST) -> str:
    names = {"Attribute": "an attribute (a dot)", "Lambda": "lambda", "NamedExpr": ":=", "JoinedStr": "an f-string"}
    kind = type(node).__name__
    return names.get(kind, kind.lower())


def _syntax_hint(text: str) -> str:
    for opening, closing in ("()", "[]"):
        if text.count(opening) != text.count(closing):
            return f"{text.count(opening)} {opening} and {text.count(closing)} {closing}"
    if re.search(r"[|*+,=]\s*$", text):
        return "it ends in the middle"
    return ""


def value_of(value: Value, mentions: set[str] | None = None) -> Evaluate:
    """The function for a YAML value: a scalar is an expression (quoted or not), a sequence a list of them."""
    if isinstance(value, Scalar):
        expression = Expression(value, mentions)
        return expression.value()
    if isinstance(value, Sequence):
        items = [value_of(item, mentions) for item in value.items]

        def run(names: Names) -> Any:
            made = tuple(item(names) for item in items)
            try:
                names.budget.spend(leaves(made))
            except OverflowError as fault:
                raise SpecError(str(fault), value.place) from None
            return made

        return run
    raise SpecError("a value or a list is wanted here, not keys", value.place)
