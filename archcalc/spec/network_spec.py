"""Parse a spec, without expanding it: header, params, variants, blocks and layers, or aliases."""

from __future__ import annotations

import ast
import keyword
from typing import Any, NamedTuple

from archcalc.errors import Place, Refusal, SpecError, printable, shorten, suggest
from archcalc.graph.graph import About
from archcalc.ops import REGISTRY
from archcalc.ops.shape import AXES, Shape, Sizes, axes_of, shape_of
from archcalc.spec.expression import Compiled, Expression, constant, value_of
from archcalc.spec.functions import DIMENSIONS, FUNCTIONS, Budget, Names
from archcalc.spec.hints import shape_hint
from archcalc.spec.layers import LABEL, Chain, Plan, Planner, check_keys, check_label, is_reserved, structured
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value, parse_yaml

KEYS = {
    "name": "the network's name, or the family's if there are variants",
    "title": "a description in a few words",
    "family": "the family in `archcalc list`; by default the name",
    "paper": "authors, year, title, arxiv, url",
    "notes": "remarks that tables show above the layers",
    "input": "the shape: [channels, height, width], or sizes by axis: {T: 128, C: 768}; or several inputs by name",
    "params": "names with default values, for `--set` and the variants",
    "variants": "networks by name, each with the params that it changes",
    "blocks": "layers by name, with parameters",
    "layers": "the steps",
    "aliases": "instead of input and layers: other names for networks, perhaps with params set",
}
OTHERS = {  # keys that `auditing` reads, in a spec or in the file beside it
    "published": "printed figures with their source",
    "accuracy": "published accuracies with their source, dataset and protocol",
    "recipe": "how the network was trained, with the source",
}
OF_LAYERS = ("input", "params", "variants", "blocks", "layers")  # not in a spec of aliases
SUFFIXES = (".yaml", ".yml")  # of files; no network's name ends so
NAME_RULE = "use letters, digits, . _ and -"
MAX_PARAMETERS = 64  # of a block
PAPER = ("authors", "title", "year", "venue", "arxiv", "url")
ALIAS = ("network", "set", "input")
SHAPE_STEPS = 100  # most steps of an input's shape in changes


class InputShape(NamedTuple):
    """The shape of an input: its axes, "" if they are not named, and their sizes."""

    axes: str
    sizes: Compiled


class Changes(NamedTuple):
    """A network, and the params and input that differ from its spec."""

    network: str = ""  # "": the network itself
    params: dict[str, Compiled] = {}  # noqa: RUF012  # nothing writes into it
    input: Sizes | None = None
    place: Place | None = None

    @property
    def written(self) -> str:
        """The changes as a spec writes them: `resnet18`, or `{network: resnet18, set: {classes: 10}}`."""
        if not (self.params or self.input):
            return self.network
        params = ", ".join(f"{name}: {ast.unparse(value.tree)}" for name, value in self.params.items())
        parts = [f"network: {self.network}"] if self.network else []
        parts += [f"set: {{{params}}}"] if params else []
        parts += [f"input: {_written(self.input)}"] if self.input else []
        return f"{{{', '.join(parts)}}}"


def _written(sizes: Sizes) -> str:
    axes = isinstance(sizes, Shape) and sizes.axes
    return f"{{{', '.join(map('{}: {}'.format, axes, sizes))}}}" if axes else str(list(sizes))


class Block(NamedTuple):
    """A named piece of a network: its parameters, some with defaults, and its layers."""

    name: str
    parameters: tuple[tuple[str, Compiled | None], ...]
    body: Plan
    structured: bool
    place: Place

    def signature(self) -> str:
        """Return `stage(width, depth, stride=…)`."""
        return f"{self.name}({', '.join(p if default is None else f'{p}=…' for p, default in self.parameters)})"


class Spec(NamedTuple):
    """One parsed spec."""

    name: str
    inputs: dict[str, InputShape]  # by name; "" is the name of one without a name
    params: dict[str, Compiled]
    variants: dict[str, dict[str, Compiled]]
    blocks: dict[str, Block]
    layers: Plan
    about: About
    aliases: dict[str, Changes]
    unused: tuple[tuple[str, Place], ...] = ()
    others: tuple[tuple[str, Value], ...] = ()  # keys of OTHERS, not parsed here
    text: str = ""
    path: str = ""  # of the file; "" if the text is not from a file

    def networks(self) -> tuple[str, ...]:
        """Return the networks that it describes: its aliases, its variants, or itself."""
        return tuple(self.aliases) or tuple(self.variants) or (self.name,)

    def standing_for(self, alias: str, target: Spec, network: str) -> Spec:
        """Return the spec of an alias: the target's network with the changes of the alias, and its own name and origin.

        Raises SpecError for an unknown param.
        """
        changes = self.aliases[alias]
        params = {**target.params, **target.variants.get(network, {})}
        for name in changes.params:
            if name not in params:
                raise SpecError(f"{network} has no param {shorten(name)!r}", changes.place, suggest(name, params))
        about = target.about._replace(stands_for=changes.network)
        about = about._replace(**{key: said for key, said in self.about._asdict().items() if said})
        own: dict[str, dict[str, Compiled]] = {alias: {**target.variants.get(network, {}), **changes.params}}
        inputs = target.inputs if changes.input is None else _replaced(target.inputs, changes)
        return target._replace(name=self.name, inputs=inputs, variants=own, about=about, text=self.text, path=self.path)


def _replaced(inputs: dict[str, InputShape], changes: Changes) -> dict[str, InputShape]:
    """Return the only input with another shape. Raises SpecError for several."""
    if len(inputs) > 1:
        raise SpecError(f"{changes.network} has several inputs; set its params instead", changes.place)
    ((name, old),) = inputs.items()
    sizes = constant(tuple(changes.input or ()), old.sizes.place)
    return {name: InputShape(getattr(changes.input, "axes", ""), sizes)}


def parse_spec(text: str, source: str = "<text>", path: str = "") -> Spec:
    """Parse a spec, called `source` in errors. Raises SpecError, with its place, if it is not a valid spec."""
    root = check_keys(parse_yaml(text, source), KEYS | OTHERS, "a spec")
    others = tuple((key.text, value) for key, value in root.entries if key.text in OTHERS)
    return _Reader(root).spec()._replace(others=others, text=text, path=path)


def is_network_name(text: str) -> bool:
    """Whether a network may have this name."""
    return bool(LABEL.fullmatch(text.replace(".", "_"))) and not text.endswith(SUFFIXES)


def text_of(value: Value | None) -> str:
    """Return a printable text on one line, or "" for None. Raises SpecError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, Scalar) or not value.text:
        raise SpecError("a text is needed here", value.place)
    if printable(value.text) != value.text:
        raise SpecError("the text has a control character", value.place, "remove it")
    return " ".join(value.text.split())


def read_about(root: Mapping, name: str) -> About:
    """Read title, family and paper."""
    paper = root.get("paper")
    entries = check_keys(paper, PAPER, "paper").entries if paper is not None else ()
    facts: dict[str, Any] = {key.text: text_of(item) for key, item in entries}
    if "year" in facts:
        facts["year"] = _year(facts["year"], next(item.place for key, item in entries if key.text == "year"))
    notes = _notes(root.get("notes"))
    return About(text_of(root.get("title")), text_of(root.get("family")) or name, facts, notes=notes)


def _notes(value: Value | None) -> tuple[str, ...]:
    """Read a list of texts, or one text."""
    return tuple([text_of(item) for item in (value.items if isinstance(value, Sequence) else (value,) * bool(value))])


def _year(text: str, place: Place) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise SpecError(f"not a year: {shorten(text)}", place)
    return int(text)


def read_changes(entry: Mapping) -> Changes:
    """Read `network`, `set` and `input` of an alias or another entry."""
    params = _entries(entry.get("set"), "set needs names with values", "such as set: {size: 227}")
    shape = entry.get("input")
    axes, sizes = _shape(shape) if shape else ("", None)
    size = sizes.run(Names({}, {}, Budget(SHAPE_STEPS))) if sizes else None
    if sizes and not (isinstance(size, tuple) and size):
        raise SpecError("input needs a shape", sizes.place, "such as input: [3, 227, 227]")
    if size and axes:
        size = shape_of(size, axes)
    known = {key.text: value_of(item) for key, item in params}
    return Changes(text_of(entry.get("network")), known, size, entry.place)


def _inputs(value: Value, mentions: set[str]) -> dict[str, InputShape]:
    """Read one shape, or several by name: `{image: [3, 224, 224], position: {C: 4}}`."""
    if not isinstance(value, Mapping) or not any(isinstance(own, Mapping | Sequence) for _, own in value.entries):
        return {"": _shape(value, mentions)}
    for key, _ in value.entries:
        check_label(key.text, key.place)
    return {key.text: _shape(own, mentions) for key, own in value.entries}


def _shape(value: Value, mentions: set[str] | None = None) -> InputShape:
    """Read `[3, 224, 224]` or `{C: 64, L: 16000}`."""
    if isinstance(value, Scalar) and (hint := shape_hint(value.text)):
        raise SpecError(f"not a shape: {shorten(value.text)}", value.place, hint)
    if not isinstance(value, Mapping):
        return InputShape("", value_of(value, mentions))
    keys = {key.text: key for key, _ in value.entries}
    try:
        axes = axes_of(keys)
    except Refusal as error:
        wrong = next((key for text, key in keys.items() if text not in AXES), value)
        raise SpecError(f"input {error}", wrong.place) from None
    items = {key.text: item for key, item in value.entries}
    return InputShape(axes, value_of(Sequence(tuple([items[axis] for axis in axes]), value.place), mentions))


def _entries(value: Value | None, needs: str, hint: str, some: bool = False) -> tuple[tuple[Scalar, Value], ...]:
    """Return the names with their values, `some` if that is needed. Raises SpecError for anything else but None."""
    if value is None:
        return ()
    if not isinstance(value, Mapping) or (some and not value.entries):
        raise SpecError(needs, value.place, hint)
    return value.entries


class _Reader:
    def __init__(self, root: Mapping) -> None:
        self.root = root
        self.planner = Planner()

    def spec(self) -> Spec:
        name = text_of(self.need("name"))
        if not is_network_name(name):
            raise SpecError(f"{shorten(name)!r} cannot be a name", self.need("name").place, NAME_RULE)
        if self.root.get("aliases") is not None:
            return self.of_aliases(name)
        params = self.settings(self.root.get("params"), "params")
        variants = self.variants(params)
        blocks = self.blocks()
        layers = self.planner.steps(self.need("layers"), "layers")
        inputs = _inputs(self.need("input"), self.planner.mentions)
        return Spec(
            name, inputs, {k: value for k, (value, _) in params.items()}, variants,
            {block.name: block for block in blocks}, layers, read_about(self.root, name), {},
            self.unused(params, blocks),
        )  # fmt: skip

    def of_aliases(self, name: str) -> Spec:
        """Read a spec of aliases."""
        for key, _ in self.root.entries:
            if key.text in OF_LAYERS:
                raise SpecError(f"a spec with aliases cannot have `{key.text}`", key.place)
        value, needs = self.need("aliases"), "aliases needs names, each with its network"
        entries = _entries(value, needs, "such as resnet18_v1: resnet18", some=True)
        aliases = {self.network_name(key): self.alias(item) for key, item in entries}
        none = Chain((), value.place)
        nothing = {"": InputShape("", constant((), value.place))}
        return Spec(name, nothing, {}, {}, {}, none, read_about(self.root, ""), aliases)

    def alias(self, value: Value) -> Changes:
        """Read `resnet18`, or `{network: squeezenet1.0, set: {size: 224}}`."""
        if isinstance(value, Scalar):
            return Changes(text_of(value), place=value.place)
        changes = read_changes(check_keys(value, ALIAS, "an alias"))
        if not changes.network:
            raise SpecError("an alias lacks `network`", value.place)
        return changes

    def network_name(self, key: Scalar) -> str:
        if not is_network_name(key.text):
            raise SpecError(f"{shorten(key.text)!r} cannot be a network's name", key.place)
        return key.text

    def need(self, key: str) -> Value:
        value = self.root.get(key)
        if value is None:
            raise SpecError(f"the spec lacks `{key}`: {KEYS[key]}", self.root.place)
        return value

    def settings(self, value: Value | None, what: str) -> dict[str, tuple[Compiled, Place]]:
        """Read names with the expressions of their values."""
        made = {}
        for key, item in _entries(value, f"{what} needs names with values", f"such as {what}: {{size: 224}}"):
            check_name(key.text, key.place)
            made[key.text] = (value_of(item, self.planner.mentions), key.place)
        return made

    def variants(self, params: dict[str, Any]) -> dict[str, dict[str, Compiled]]:
        made, needs = {}, "variants needs names, each with params"
        for key, item in _entries(self.root.get("variants"), needs, "such as small: {width: 32}", some=True):
            settings = self.settings(item, key.text)
            made[self.network_name(key)] = {name: value for name, (value, _) in settings.items()}
        return made

    def blocks(self) -> list[Block]:
        made: dict[str, Block] = {}
        hint = "such as conv_bn(n): [conv(n, 3), batchnorm]"
        for key, body in _entries(self.root.get("blocks"), "blocks needs names with steps", hint):
            block = self.block(key, body)
            if block.name in made:
                first = made[block.name].place.line
                raise SpecError(f"the block {block.name} is defined twice", key.place, f"first at line {first}")
            made[block.name] = block
        return list(made.values())

    def block(self, key: Scalar, body: Value) -> Block:
        """Read `conv_bn(channels, kernel, stride=1)` and its steps."""
        header = Expression(key, self.planner.mentions)
        tree = header.tree
        if isinstance(tree, ast.Name):
            tree = ast.Call(tree, [], [])
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            hint = "write a name, or a call such as conv_bn(channels, stride=1)"
            raise SpecError(f"not a block's name: {shorten(key.text)}", key.place, hint)
        if not all(isinstance(arg, ast.Name) for arg in tree.args) or None in {k.arg for k in tree.keywords}:
            raise SpecError("the parameters of a block must be names, with or without a default", key.place)
        parameters: list[tuple[str, Compiled | None]]
        parameters = [(arg.id, None) for arg in tree.args if isinstance(arg, ast.Name)]
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
            raise SpecError("a parameter is written twice", place)
        if len(names) > MAX_PARAMETERS:
            raise SpecError(f"the block has {len(names)} parameters; at most {MAX_PARAMETERS}", place)

    def unused(self, params: dict[str, tuple[Compiled, Place]], blocks: list[Block]) -> tuple[tuple[str, Place], ...]:
        """Return params and blocks that nothing mentions, for `archcalc check`.

        If the value of a param is a block, `--set` can choose any block with as many parameters.
        """
        values = {value.tree.id for value, _ in params.values() if isinstance(value.tree, ast.Name)}
        chosen = {len(block.parameters) for block in blocks if block.name in values}
        others = [block for block in blocks if len(block.parameters) not in chosen]
        named = [("param " + name, name, place) for name, (_, place) in params.items()]
        named += [("block " + block.name, block.name, block.place) for block in others]
        return tuple((what, place) for what, name, place in named if name not in self.planner.mentions)


def check_name(name: str, place: Place) -> None:
    """Raise SpecError unless an expression can mention this name."""
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise SpecError(f"{shorten(name)!r} cannot be a name", place, "use letters, digits and _, not a digit first")
    if is_reserved(name) or name in FUNCTIONS or name in DIMENSIONS:
        raise SpecError(f"{name} is a word of the language", place, "choose another name")
