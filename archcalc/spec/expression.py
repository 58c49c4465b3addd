"""The expression language: a closed subset of Python, parsed by `ast`, but never evaluated by Python.

An expression is compiled once to a function of the names in scope, which is fast to run. Allowed are literals, names,
lists, arithmetic, comparisons, `and or not`, `a if c else b`, indexing, comprehensions and a few functions. There are
no attributes, no imports and no other calls. `functions.py` has the kinds of values and their bounds.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from archcalc.errors import Place, SpecError, shorten, suggest
from archcalc.ops import REGISTRY
from archcalc.ops.arguments import show
from archcalc.ops.symbols import NotSymbolic
from archcalc.ops.synonyms import TEXTS, operator_name
from archcalc.spec import functions
from archcalc.spec.functions import ARITHMETIC, COMPARISONS, FUNCTIONS, LIMIT, Evaluate, Fault, Misuse, Names
from archcalc.spec.yaml import Scalar, Sequence, Value

MAX_TEXT = 10_000  # characters of one expression
MAX_DEPTH = 60  # nested sub-expressions
NODES_PER_STEP = 4  # parts of an expression per step of the budget

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_ \n.,:()\[\]+\-*/%<>=!|'\"]")
_TOKENS = re.compile(r"'[^']*'|\"[^\"]*\"|[()\[\]]")
_WORDS = {"true": True, "false": False, "null": None}  # YAML's spelling
_TITLES = {
    "Attribute": "an attribute (a dot)", "NamedExpr": ":=", "JoinedStr": "an f-string", "Starred": "* before a list",
    "DictComp": "a dictionary", "SetComp": "a set",
}  # fmt: skip
FLOW_HINT = "inside [ ] and { } YAML splits at commas: put the expression in quotes"
TOO_DEEP = f"an expression nested more than {MAX_DEPTH} deep"


class Tree(NamedTuple):
    """The result of Python's parser: a tree, or where it stopped and whether the text is too deep."""

    body: ast.expr | None
    stop: int = 0
    deep: bool = False


@lru_cache(maxsize=4096)
def _parse(text: str) -> Tree:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e.g. Python's warnings on literals
        try:
            return Tree(ast.parse(text.replace("\n", " "), mode="eval").body)
        except (MemoryError, RecursionError):
            return Tree(None, deep=True)
        except (SyntaxError, ValueError) as error:
            return Tree(None, (getattr(error, "offset", None) or 1) - 1)


class Compiled(NamedTuple):
    """An expression: its tree, its place, and the function of the names that computes it.

    For a comprehension `run` returns the names of each round, and the tree is the whole comprehension.
    """

    tree: ast.expr
    place: Place
    run: Evaluate


def constant(value: Any, place: Place) -> Compiled:
    """Wrap a number or a list of numbers as if it was compiled from an expression."""
    return Compiled(ast.parse(repr(value), mode="eval").body, place, lambda names: value)


class Expression:
    """One scalar as a syntax tree with places; it compiles values, and a subclass compiles layers."""

    def __init__(self, scalar: Scalar, mentions: set[str] | None = None) -> None:
        self.scalar = scalar
        self.mentions = mentions if mentions is not None else set()
        self.text = scalar.text.strip()
        self.margin = len(scalar.text) - len(scalar.text.lstrip())
        self.depth = 0
        self.size = 0  # parts compiled so far
        if not self.text:
            raise SpecError("an expression is missing here", scalar.place)
        if len(self.text) > MAX_TEXT:
            raise SpecError(f"the expression has {len(self.text):,} characters; at most {MAX_TEXT:,}", scalar.place)
        strange = _FORBIDDEN.search(self.text)
        if strange:
            raise self.wrong(*strange.span(), f"{strange.group()!r} is not part of the expression language")
        tree = _parse(self.text)
        if tree.body is None:
            raise self.syntax_error(tree)
        self.tree = tree.body

    def wrong(self, start: int, end: int, message: str, hint: str = "") -> SpecError:
        """Return an error at characters start to end."""
        return SpecError(message, self.scalar.at(start + self.margin, end + self.margin), hint)

    def syntax_error(self, tree: Tree) -> SpecError:
        """Return why the text is not an expression: brackets, depth, its end, or where Python stopped."""
        message, last = f"not an expression: {shorten(self.text)}", len(self.text) - 1
        if error := self.bracket_error():
            return error
        if tree.deep:
            return SpecError(TOO_DEEP, self.scalar.place)
        if re.search(r"\d{4000}", self.text):
            return SpecError("the number is too large; numbers must be below 2^63", self.scalar.place)
        if re.search(r"[|*/%+,=<>-]$", self.text):
            return self.wrong(last, last + 1, message, "it ends in the middle")
        stop = min(tree.stop, last)
        rounds = _parse(f"({self.text})").body
        hint = f"write chain({shorten(self.text, 80)})" if isinstance(rounds, ast.GeneratorExp) else ""
        return self.wrong(stop, stop + 1, message, hint)

    def bracket_error(self) -> SpecError | None:
        """Return an error for the first bracket without a partner or nested too deep."""
        waiting: list[re.Match[str]] = []
        for token in _TOKENS.finditer(self.text):
            bracket = token.group()
            if bracket in ")]" and (not waiting or waiting.pop().group() + bracket not in ("()", "[]")):
                return self.wrong(*token.span(), f"{bracket} closes nothing")
            if bracket in "([":
                waiting.append(token)
            if len(waiting) > MAX_DEPTH:
                return self.wrong(*token.span(), TOO_DEEP)
        if not waiting:
            return None
        hint = "" if self.scalar.quoted else FLOW_HINT
        return self.wrong(*waiting[-1].span(), f"{waiting[-1].group()} is not closed", hint)

    def place(self, node: ast.AST) -> Place:
        """Return the place of a node of the tree."""
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 1) or 1
        return self.scalar.at(start + self.margin, end + self.margin)

    def written(self, node: ast.AST) -> str:
        """Return a node as the spec writes it, shortened."""
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 1) or 1
        return shorten(" ".join(self.text[start:end].split()))

    def error(self, node: ast.AST, message: str, hint: str = "") -> SpecError:
        """Return an error at a node."""
        return SpecError(message, self.place(node), hint)

    def value(self, node: ast.expr | None = None) -> Compiled:
        """Compile a value; running it also takes its steps. Raises SpecError for what the language does not have."""
        node = self.tree if node is None else node
        return Compiled(node, self.place(node), self.paid(node))

    def paid(self, node: ast.expr) -> Evaluate:
        """Return the function that computes a value and takes its steps."""
        before = self.size
        run = self.compile(node)
        cost = (self.size - before) // NODES_PER_STEP
        if not cost:
            return run

        def paid(names: Names) -> Any:
            names.budget.spend(cost)
            return run(names)

        return self.guard(node, paid)

    def compile(self, node: ast.expr) -> Evaluate:
        """Return the function that computes a part of a value."""
        kind = type(node).__name__
        compiler = getattr(self, f"_compile_{kind.lower()}", None)
        if compiler is None:
            raise self.error(node, f"{_TITLES.get(kind, kind.lower())} is not part of the expression language")
        self.size += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(node, TOO_DEEP)
        run: Evaluate = compiler(node)
        self.depth -= 1
        return run

    def guard(self, node: ast.AST, compute: Evaluate, hint: str = "") -> Evaluate:
        """Wrap `compute`: raise its faults as errors at the node's place; misuse also gets the hint."""

        def run(names: Names) -> Any:
            try:
                return compute(names)
            except (Fault, NotSymbolic) as fault:
                advice = hint if isinstance(fault, Misuse) else ""
                raise self.error(node, f"{self.written(node)}: {fault}", advice) from None

        return run

    def _compile_constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        if isinstance(value, complex | bytes) or value is ...:
            raise self.error(node, f"{self.written(node)} is not part of the expression language")
        if isinstance(value, int | float) and not -LIMIT < value < LIMIT:
            raise self.error(node, f"{self.written(node)} is too large; numbers must be below 2^63")
        return lambda names: value

    def _compile_name(self, node: ast.Name) -> Evaluate:
        key = node.id
        self.mentions.add(key)

        def run(names: Names) -> Any:
            try:
                return names[key]
            except KeyError:
                raise self._unknown(node, names) from None

        return run

    def _unknown(self, node: ast.Name, names: Names) -> SpecError:
        message = f"unknown name {shorten(node.id)}"
        if node.id in functions.DIMENSIONS:
            known = f"has {len(names.shape.axes)} dimension(s)" if names.shape else "is not known"
            return self.error(node, f"{node.id}: the input here {known}")
        if node.id in _WORDS:
            return self.error(node, message, f"write {_WORDS[node.id]}")
        if node.id in TEXTS:
            source, text = self.place(node).source.name, f"'{node.id}'"
            text = f'{source}="{text}"' if source.startswith("--set ") else text
            return self.error(node, message, f"write it in quotes if it is a text: {text}")
        if node.id in names.later:
            return self.error(node, message, "params are computed in order: move it above this one")
        layers = [name for name, cls in REGISTRY.items() if not cls.joins and name != "identity"]  # can be values
        own = operator_name(node.id, layers)
        return self.error(node, message, f"it is called {own} here" if own else suggest(node.id, names.known()))

    def _compile_list(self, node: ast.List | ast.Tuple) -> Evaluate:
        items = [self.compile(item) for item in node.elts]
        return self.guard(node, lambda names: functions.charge(names, tuple([item(names) for item in items])))

    _compile_tuple = _compile_list

    def _compile_unaryop(self, node: ast.UnaryOp) -> Evaluate:
        operand = self.compile(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda names: not operand(names)
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return self.guard(node, lambda names: functions.number(sign * functions.numeric(operand(names))))

    def _compile_binop(self, node: ast.BinOp) -> Evaluate:
        compute = ARITHMETIC.get(type(node.op))
        if compute is None:
            hint = "`|` joins layers, but this is a value" if isinstance(node.op, ast.BitOr) else ""
            raise self.error(node, f"{self.written(node)}: this operator is not part of the expression language", hint)
        left, right = self.compile(node.left), self.compile(node.right)

        def run(names: Names) -> Any:
            made = compute(left(names), right(names))
            return functions.charge(names, made) if isinstance(made, tuple) else functions.number(made)

        return self.guard(node, run)

    def _compile_boolop(self, node: ast.BoolOp) -> Evaluate:
        operands = [self.compile(operand) for operand in node.values]
        if isinstance(node.op, ast.And):
            return lambda names: all(operand(names) for operand in operands)
        return lambda names: any(operand(names) for operand in operands)

    def _compile_compare(self, node: ast.Compare) -> Evaluate:
        first = self.compile(node.left)
        tests = [COMPARISONS.get(type(op)) for op in node.ops]
        others = [(test, self.compile(other)) for test, other in zip(tests, node.comparators, strict=True) if test]
        if None in tests:
            raise self.error(node, "`is` is not part of the expression language", "compare with ==")

        def run(names: Names) -> bool:
            left = functions.charge(names, first(names))
            for test, other in others:
                right = functions.charge(names, other(names))
                if not test(left, right):
                    return False
                left = right
            return True

        return self.guard(node, run)

    def _compile_ifexp(self, node: ast.IfExp) -> Evaluate:
        test, yes, no = self.compile(node.test), self.compile(node.body), self.compile(node.orelse)
        return lambda names: yes(names) if test(names) else no(names)

    def _compile_subscript(self, node: ast.Subscript) -> Evaluate:
        whole = self.compile(node.value)
        if not isinstance(node.slice, ast.Slice):
            index = self.compile(node.slice)
            return self.guard(node, lambda names: functions.item(whole(names), index(names)))
        bounds = [self.compile(b) if b else None for b in (node.slice.lower, node.slice.upper, node.slice.step)]

        def run(names: Names) -> Any:
            return functions.charge(names, functions.part(whole(names), *[b(names) if b else None for b in bounds]))

        return self.guard(node, run)

    def _compile_call(self, node: ast.Call) -> Evaluate:
        if not isinstance(node.func, ast.Name):
            raise self.error(node.func, "only operators, blocks and functions can be called, by name")
        name = node.func.id
        if name in REGISTRY:
            raise self.error(node.func, f"{name} is a layer, but a value is needed here")
        if name not in FUNCTIONS:
            raise self.error(node.func, f"{shorten(name)} is not a function of values", suggest(name, FUNCTIONS))
        usage, least, most, compute = FUNCTIONS[name]
        if node.keywords:
            raise self.error(node.keywords[0], f"{name} takes no keywords", f"write {usage}")
        args = [self.compile(arg) for arg in node.args]
        if not least <= len(args) <= most:
            plural = "" if len(args) == 1 else "s"
            raise self.error(node, f"{name} does not take {len(args)} argument{plural}", f"write {usage}")

        def run(names: Names) -> Any:
            made = compute(*[functions.charge(names, arg(names)) for arg in args])
            return functions.number(made) if isinstance(made, int | float) else functions.charge(names, made)

        return self.guard(node, run, f"write {usage}")

    def _compile_listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Evaluate:
        item = self.paid(node.elt)
        rounds = self.rounds(node).run
        return self.guard(node, lambda names: functions.charge(names, tuple([item(inner) for inner in rounds(names)])))

    _compile_generatorexp = _compile_listcomp

    def rounds(self, node: ast.ListComp | ast.GeneratorExp) -> Compiled:
        """Compile the loops of a comprehension; running them yields the names of each round, in order."""
        loops = [self._loop(loop) for loop in node.generators]

        def walk(names: Names, level: int) -> Iterator[Names]:
            if level == len(loops):
                yield names
                return
            for inner in loops[level](names):
                yield from walk(inner, level + 1)

        return Compiled(node, self.place(node), lambda names: walk(names, 0))

    def _loop(self, loop: ast.comprehension) -> Callable[[Names], Iterator[Names]]:
        """Compile one `for … in … if …`."""
        if loop.is_async or not _is_target(loop.target):
            raise self.error(
                loop.target, "a loop needs a name for each item", "such as for i in list or for a, b in list"
            )
        taken = functions.DIMENSIONS.keys() & {part.id for part in ast.walk(loop.target) if isinstance(part, ast.Name)}
        if taken:
            raise self.error(loop.target, f"{min(taken)} is a word of the language", "choose another name")
        written = self.paid(loop.iter)
        items = self.guard(loop.iter, lambda names: functions.listed(written(names)))
        tests = [self.paid(test) for test in loop.ifs]

        def run(names: Names) -> Iterator[Names]:
            for item in items(names):
                try:
                    names.budget.spend()
                    inner = names.inner(_unpack(loop.target, item), names.shape)
                except Fault as fault:
                    raise self.error(loop.target, f"for {self.written(loop.target)}: {fault}") from None
                if all(test(inner) for test in tests):
                    yield inner

        return run


def _is_target(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Tuple) and all(_is_target(part) for part in node.elts))


def _unpack(target: ast.expr, item: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: item}
    parts = target.elts if isinstance(target, ast.Tuple) else []
    if isinstance(item, tuple) and len(parts) == len(item):
        pairs = zip(parts, item, strict=True)
        return {name: value for part, own in pairs for name, value in _unpack(part, own).items()}
    raise Fault(f"{show(item)} is not a list of {len(parts)} values")


def value_of(value: Value, mentions: set[str] | None = None) -> Compiled:
    """Compile a YAML value: a scalar is an expression (quoted or not), a sequence a list of them."""
    if isinstance(value, Scalar):
        return Expression(value, mentions).value()
    if not isinstance(value, Sequence):
        raise SpecError("a value or a list is needed here, not keys", value.place)
    items = [value_of(item, mentions) for item in value.items]

    def run(names: Names) -> Any:
        made = tuple([item.run(names) for item in items])
        try:
            names.budget.spend(functions.leaves(made))
        except Fault as fault:
            raise SpecError(str(fault), value.place) from None
        return made

    return Compiled(ast.List([item.tree for item in items], ast.Load()), value.place, run)
