"""A spec file, read but not yet expanded: header, params, variants, blocks, layers and published figures."""

from __future__ import annotations

import ast
import keyword
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.errors import Place, SpecError, printable, shorten, suggest
from archcalc.graph import About, Accounting, Claim
from archcalc.language.expression import Expression, value_of
from archcalc.language.plan import LABEL, RESERVED, Plan, Planner, check_keys, structured
from archcalc.language.source import Mapping, Scalar, Sequence, Value, parse_yaml
from archcalc.language.values import DIMENSIONS, FUNCTIONS, Budget, Evaluate, Names
from archcalc.ops import REGISTRY

KEYS = {
    "name": "the network's name, or the family's where there are variants",
    "title": "what it is, in a few words",
    "family": "the family it is listed under; by default its name",
    "paper": "authors, year, title, arxiv, url",
    "input": "the image: [channels, height, width]",
    "params": "names with default values, for `--set` and the variants",
    "variants": "networks by name, each with the params it changes",
    "blocks": "layers by name, with parameters",
    "layers": "the steps",
    "published": "printed figures with their source",
}
MAX_PARAMETERS = 64  # of a block
PAPER = dict.fromkeys(("authors", "title", "year", "venue", "arxiv", "url"), "")
CLAIM = dict.fromkeys(("of", "figure", "printed", "mode", "source", "note", "explained_by"), "")
ACCOUNTING = dict.fromkeys(("text", "value"), "")


class Block(NamedTuple):
    """A named piece of a network: parameters with perhaps a default, and its layers."""

    name: str
    parameters: tuple[tuple[str, Evaluate | None], ...]
    body: Plan
    structured: bool
    place: Place

    def signature(self) -> str:
        """`stage(width, depth, stride=…)`."""
        return f"{self.name}({', '.join(p if default is None else f'{p}=…' for p, default in self.parameters)})"


class Spec(NamedTuple):
    """One spec file."""

    name: str
    input: Evaluate
    input_place: Place
    params: dict[str, Evaluate]
    variants: dict[str, dict[str, Evaluate]]
    blocks: dict[str, Block]
    layers: Plan
    about: About
    claims: tuple[tuple[frozenset[str], Claim], ...]
    unused: tuple[tuple[str, Place], ...] = ()

    def networks(self) -> tuple[str, ...]:
        """The networks it describes: its variants, or itself."""
        return tuple(self.variants) or (self.name,)


def parse_spec(text: str, source: str = "<text>") -> Spec:
    """Read a spec. Raises SpecError, with its place, for anything that is not one."""
    return _Reader(check_keys(parse_yaml(text, source), KEYS, "a spec")).spec()


class _Reader:
    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.planner = Planner()

    def spec(self) -> Spec:
        name = self.text(self.need("name"))
        if not LABEL.fullmatch(name.replace(".", "_")):
            hint = "letters, digits, . _ and -"
            raise SpecError(f"{shorten(name)!r} cannot be a name", self.need("name").place, hint)
        params = self.settings(self.root.get("params"), "params")
        variants = self.variants(params)
        blocks = self.blocks()
        layers = self.planner.steps(self.need("layers"), "layers")
        shape = self.need("input")
        return Spec(
            name, value_of(shape, self.planner.mentions), shape.place, {k: run for k, (run, _) in params.items()},
            variants, {block.name: block for block in blocks}, layers, self.about(name),
            self.claims(tuple(variants) or (name,)), self.unused(params, blocks),
        )  # fmt: skip

    def need(self, key: str) -> Value:
        value = self.root.get(key)
        if value is None:
            raise SpecError(f"the spec lacks `{key}`: {KEYS[key]}", self.root.place)
        return value

    def text(self, value: Value | None) -> str:
        if value is None:
            return ""
        if not isinstance(value, Scalar) or not value.text:
            raise SpecError("a text is wanted here", value.place)
        if printable(value.text) != value.text:
            raise SpecError("a text with a control character", value.place, "texts are printed: leave it out")
        return " ".join(value.text.split())

    def settings(self, value: Value | None, what: str) -> dict[str, tuple[Evaluate, Place]]:
        """Names with the expressions of their values."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise SpecError(f"{what} wants names with values", value.place, f"for example {what}: {{size: 224}}")
        made = {}
        for key, item in value.entries:
            check_name(key.text, key.place)
            made[key.text] = (value_of(item, self.planner.mentions), key.place)
        return made

    def variants(self, params: dict[str, Any]) -> dict[str, dict[str, Evaluate]]:
        value = self.root.get("variants")
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not value.entries:
            raise SpecError("variants wants names with the params each changes", value.place)
        made = {}
        for key, item in value.entries:
            if not LABEL.fullmatch(key.text.replace(".", "_")):
                raise SpecError(f"{shorten(key.text)!r} cannot be a network's name", key.place)
            made[key.text] = {name: run for name, (run, _) in self.settings(item, key.text).items()}
        return made

    def blocks(self) -> list[Block]:
        value = self.root.get("blocks")
        if value is None:
            return []
        if not isinstance(value, Mapping):
            raise SpecError("blocks wants names with steps", value.place)
        made: dict[str, Block] = {}
        for key, body in value.entries:
            block = self.block(key, body)
            if block.name in made:
                first = made[block.name].place.line
                raise SpecError(f"block {block.name} stands here twice", key.place, f"first at line {first}")
            made[block.name] = block
        return list(made.values())

    def block(self, key: Scalar, body: Value) -> Block:
        """`conv_bn(channels, kernel, stride=1)` and its steps."""
        header = Expression(key, self.planner.mentions)
        tree = header.tree
        if isinstance(tree, ast.Name):
            tree = ast.Call(tree, [], [])
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            hint = "for example conv_bn(channels, stride=1)"
            raise SpecError(f"not a block's name: {shorten(key.text)}", key.place, hint)
        if not all(isinstance(arg, ast.Name) for arg in tree.args) or None in {k.arg for k in tree.keywords}:
            raise SpecError("a block's parameters are names, or names with a default", key.place)
        parameters: list[tuple[str, Evaluate | None]] = []
        for arg in tree.args:
            parameters += [(arg.id, None)] if isinstance(arg, ast.Name) else []
        parameters += [(str(k.arg), header.value(k.value)) for k in tree.keywords]
        self.check_parameters([name for name, _ in parameters], key.place)
        name = tree.func.id
        check_name(name, key.place)
        if name in REGISTRY:
            raise SpecError(f"{name} is an operator", key.place, "give the block another name")
        plan = self.planner.steps(body, f"block {name}")
        return Block(name, tuple(parameters), plan, structured(plan), key.place)

    def check_parameters(self, names: list[str], place: Place) -> None:
        for name in names:
            check_name(name, place)
        if len(set(names)) != len(names):
            raise SpecError("a parameter stands here twice", place)
        if len(names) > MAX_PARAMETERS:
            raise SpecError(f"a block of {len(names)} parameters; {MAX_PARAMETERS} are allowed", place)

    def about(self, name: str) -> About:
        paper = self.root.get("paper")
        entries = check_keys(paper, PAPER, "paper").entries if paper is not None else ()
        facts: dict[str, Any] = {key.text: self.text(item) for key, item in entries}
        if "year" in facts:
            facts["year"] = self.year(facts["year"], entries)
        title = self.root.get("title")
        return About(self.text(title), self.text(self.root.get("family")) or name, MappingProxyType(facts))

    def year(self, text: str, entries: tuple[tuple[Scalar, Value], ...]) -> int:
        place = next(item.place for key, item in entries if key.text == "year")
        if not (text.isascii() and text.isdigit() and len(text) == 4):
            raise SpecError(f"not a year: {shorten(text)}", place)
        return int(text)

    def claims(self, networks: tuple[str, ...]) -> tuple[tuple[frozenset[str], Claim], ...]:
        value = self.root.get("published")
        if value is None:
            return ()
        if not isinstance(value, Sequence):
            raise SpecError("published wants a list of figures", value.place)
        known = frozenset(networks)
        return tuple(self.claim(item, known) for item in value.items)

    def claim(self, value: Value, networks: frozenset[str]) -> tuple[frozenset[str], Claim]:
        entry = check_keys(value, CLAIM, "a published figure")
        for key in ("figure", "printed", "source"):
            if entry.get(key) is None:
                raise SpecError(f"a published figure lacks `{key}`", entry.place)
        figure, printed, source, note, mode = [
            self.text(entry.get(key)) for key in ("figure", "printed", "source", "note", "mode")
        ]
        explained_by = self.accountings(entry.get("explained_by"))
        claim = Claim(
            figure,
            printed,
            source,
            note,
            mode or "infer",
            explained_by,
            {key.text: item.place for key, item in entry.entries},
        )
        return self.of(entry.get("of"), networks), claim

    def of(self, value: Value | None, networks: frozenset[str]) -> frozenset[str]:
        """The networks that a published figure is of: all, one, or a list."""
        if value is None:
            return networks
        items = value.items if isinstance(value, Sequence) else (value,)
        for item in items:
            name = self.text(item)
            if name not in networks:
                raise SpecError(f"no network {shorten(name)!r} here", item.place, suggest(name, networks))
        return frozenset(self.text(item) for item in items)

    def accountings(self, value: Value | None) -> tuple[Accounting, ...]:
        if value is None:
            return ()
        items = value.items if isinstance(value, Sequence) else (value,)
        return tuple(self.accounting(check_keys(item, ACCOUNTING, "an accounting")) for item in items)

    def accounting(self, entry: Mapping) -> Accounting:
        text, value = entry.get("text"), entry.get("value")
        if text is None or value is None:
            raise SpecError("an accounting wants `text` and `value`", entry.place)
        run = value_of(value)
        return Accounting(self.text(text), lambda totals: run(Names(totals, {}, Budget(10_000))))

    def unused(self, params: dict[str, tuple[Evaluate, Place]], blocks: list[Block]) -> tuple[tuple[str, Place], ...]:
        """Params and blocks that nothing mentions: `archcalc check` tells of them."""
        named = [("param " + name, name, place) for name, (_, place) in params.items()]
        named += [("block " + block.name, block.name, block.place) for block in blocks]
        return tuple((what, place) for what, name, place in named if name not in self.planner.mentions)


def check_name(name: str, place: Place) -> None:
    """Raises SpecError unless an expression can mention this name."""
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise SpecError(f"{shorten(name)!r} cannot be a name", place, "letters, digits and _, not a digit first")
    if name in RESERVED | set(FUNCTIONS) | set(DIMENSIONS):
        raise SpecError(f"{name} is a word of the language", place, "choose another name")
