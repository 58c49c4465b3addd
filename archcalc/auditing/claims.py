"""What is published about the networks of a spec: printed figures, accuracies and training recipes.

They are in a file beside the spec, or in the spec itself, and are read when a command needs them. Figures and
accuracies are written one by one, or as a table: `columns`, and one row per network or layer.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from archcalc.auditing.figures import Numbers
from archcalc.catalog import published_file, spec_of
from archcalc.errors import Place, SpecError, counted, shorten, suggest
from archcalc.graph.graph import Origin
from archcalc.spec.expression import value_of
from archcalc.spec.functions import FUNCTIONS, Budget, Fault, Names
from archcalc.spec.layers import check_keys
from archcalc.spec.network_spec import OTHERS, Changes, read_changes, text_of
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value, parse_yaml, read_text
from archcalc.spec_files import shown

METRICS = ("top1_error", "top5_error", "top1", "top5")  # in percent
RECIPE = (
    "source", "dataset", "optimizer", "momentum", "learning_rate", "schedule", "batch", "epochs", "images",
    "iterations", "weight_decay", "dropout", "label_smoothing", "gradient_clip", "initialization", "bn_momentum",
    "bn_eps", "augmentation", "loss", "note",
)  # fmt: skip
NOT_PRINTED = "-"  # a cell that is empty in the source
STEPS = 10_000  # most steps of one expression over figures
LEAST_STEPS = 10  # fewest steps that an expression over figures takes from a pool
Fields: TypeAlias = dict[str, Value]
Facts: TypeAlias = tuple[tuple[frozenset[str], Any], ...]  # networks, and a fact about all of them
Formula: TypeAlias = Callable[[Numbers], Any]  # computes a value from figures by name

ACCOUNTING = ("text", "value", "because", "set", "input", "mode", "convention")
CELL = ("printed", "to", "note", "clash", "explained_by")
COLUMN = ("figure", "what", "unit", "to", "mode", "value", "against", "note", "explained_by")
CLAIM = tuple(dict.fromkeys(("of", "layer", "source", *COLUMN, *CELL)))
TABLE = ("of", "layer", "source", "note", "mode", "to", "against", "explained_by", "clash")  # for all cells
ROWS = ("columns", "networks", "layers")
TEST = ("source", "dataset", "protocol", "note")  # of an accuracy


class Setting(NamedTuple):
    """The params, input, mode and convention that a figure is computed with, if not those of the spec."""

    changes: Changes = Changes()
    mode: str = ""  # "": the mode of the claim
    convention: str = "all"


class Accounting(NamedTuple):
    """Another way to count, which may explain a printed figure: its description, setting and formula."""

    text: str
    setting: Setting
    value: Formula | None  # None: the figure itself in that setting
    because: str = ""  # why it applies to this cell only; "": to all rows


class Claim(NamedTuple):
    """A published figure: what it counts, the value as printed, its source, and remarks."""

    figure: str
    printed: str
    source: str
    note: str = ""
    clash: str = ""  # why no accounting explains it
    what: str = ""  # its name for people, if not the figure's title
    unit: str = ""  # of `value`; "": a ratio
    to: str = ""  # what the printed number is rounded to, if its digits do not show it
    layer: str = ""  # the layer or block that it describes; "": the network
    mode: str = "infer"
    value: Formula | None = None  # the formula of what is printed, if it is not a figure itself
    against: str = ""  # the network whose figures are `against` in `value`
    accountings: tuple[Accounting, ...] = ()
    places: dict[str, Place] = {}  # noqa: RUF012  # the place of each key


class Accuracy(NamedTuple):
    """A published accuracy or error in percent, as printed; archcalc does not compute it."""

    metric: str
    printed: str
    dataset: str
    protocol: str
    source: str
    note: str = ""


def claims_of(origin: Origin | None, layers: bool = True) -> tuple[Claim, ...]:
    """Read the printed figures of a network, and with `layers` of its layers.

    Empty for other params or another input, and for a graph without a spec.
    Raises SpecError, with its place, for a wrong entry, and ArchcalcError for a file that cannot be read.
    """
    return _published("published", origin, layers)


def accuracies_of(origin: Origin | None) -> tuple[Accuracy, ...]:
    """Read the published accuracies of a network, under the same rules as `claims_of`."""
    return _published("accuracy", origin)


def recipes_of(origin: Origin | None) -> tuple[dict[str, str], ...]:
    """Read the training recipes of a network, under the same rules as `claims_of`."""
    return _published("recipe", origin)


def _published(key: str, origin: Origin | None, layers: bool = True) -> tuple[Any, ...]:
    if origin is None or origin.changed:
        return ()
    path = published_file(origin)
    facts = _facts(key, layers, origin.text, origin.path, path, read_text(path) if path else "")
    return tuple(fact for networks, fact in facts if origin.network in networks)


@lru_cache(maxsize=128)
def _facts(key: str, layers: bool, text: str, path: str, beside: str | None, beside_text: str) -> Facts:
    """Read one key of OTHERS from a spec and from the file beside it, `layers` says whether also facts of layers."""
    spec = spec_of(Origin(text, path, ""))
    entries = spec.others + (_entries(shown(beside), beside_text) if beside else ())
    reader = _Reader(frozenset(spec.networks()), layers)
    read = {"published": reader.claims, "accuracy": reader.accuracy, "recipe": reader.recipe}[key]
    return tuple(fact for own, value in entries if own == key for item in _items(value) for fact in read(item))


@lru_cache(maxsize=8)
def _entries(name: str, text: str) -> tuple[tuple[str, Value], ...]:
    root = check_keys(parse_yaml(text, name), OTHERS, "a file of published figures")
    return tuple((key.text, value) for key, value in root.entries)


def _items(value: Value | None) -> tuple[Value, ...]:
    """Return the items of a list; a single value is a list of one."""
    if value is None:
        return ()
    return value.items if isinstance(value, Sequence) else (value,)


class _Reader:
    def __init__(self, networks: frozenset[str], layers: bool) -> None:
        self.networks = networks
        self.layers = layers
        self.accountings: dict[int, Accounting] = {}  # by the id of their YAML value: cells of a column share one

    def claims(self, value: Value) -> Iterator[tuple[frozenset[str], Claim]]:
        """Yield the claims of a published figure, or of a table of them."""
        entry = check_keys(value, (*CLAIM, *ROWS), "a published figure")
        fields = _fields(entry)
        if not self.layers and {"layer", "layers"} & fields.keys():
            return
        if fields.keys().isdisjoint(ROWS):
            yield self.claim(fields, entry.place)
            return
        check_keys(value, (*TABLE, *ROWS), "a table of published figures")
        for where, column, cell in _table(entry, {"networks": "of", "layers": "layer"}):
            for key in where.keys() & fields.keys():
                raise SpecError(f"`{key}` is written for the table and for its rows", fields[key].place)
            shared, own = _keyed(column, "figure", COLUMN, "a column"), _keyed(cell, "printed", CELL, "a cell")
            for item in _items(own.get("explained_by")):
                if not self.accounting(item).because:
                    hint = "add why it applies to this cell only, or write it in the column for all rows"
                    raise SpecError("an accounting of one cell lacks `because`", item.place, hint)
            yield self.claim({**fields, **shared, **own, **where}, cell.place)

    def claim(self, fields: Fields, place: Place) -> tuple[frozenset[str], Claim]:
        for key in ("printed", "source"):
            if key not in fields:
                raise SpecError(f"a published figure lacks `{key}`", place)
        if "figure" not in fields and not {"what", "value"} <= set(fields):
            raise SpecError("a published figure lacks `figure`", place, "add it, or `what` and a `value`")
        if "value" in fields and ("figure" in fields or "layer" in fields):
            hint = 'write `what` instead, and perhaps `unit`; in the value, macs["conv1"] is the figure of a layer'
            raise SpecError("a claim with `value` cannot have `figure` or `layer`", fields["value"].place, hint)
        texts = ("figure", "printed", "source", "note", "clash", "what", "unit", "to", "layer", "against")
        claim = Claim(
            **{key: text_of(fields.get(key)) for key in texts},
            mode=text_of(fields.get("mode")) or "infer",
            value=_formula(fields.get("value")),
            accountings=tuple(self.accounting(item) for item in _items(fields.get("explained_by"))),
            places={key: item.place for key, item in fields.items()},
        )
        return self.of(fields.get("of")), claim

    def accounting(self, value: Value) -> Accounting:
        if id(value) not in self.accountings:
            self.accountings[id(value)] = _accounting(value)
        return self.accountings[id(value)]

    def accuracy(self, value: Value) -> Iterator[tuple[frozenset[str], Accuracy]]:
        """Yield an accuracy, or a table of them: `columns` of METRICS, one row per network."""
        table = isinstance(value, Mapping) and value.get("columns") is not None
        keys = (*TEST, "columns", "networks") if table else ("of", *METRICS, *TEST)
        entry = check_keys(value, keys, "a table of accuracies" if table else "an accuracy")
        fields = _fields(entry)
        if "source" not in fields:
            raise SpecError("an accuracy lacks `source`", entry.place)
        test = {key: text_of(fields.get(key)) for key in TEST}
        if not table:
            found = [Accuracy(key, _percent(fields[key]), **test) for key in METRICS if key in fields]
            if not found:
                raise SpecError("an accuracy lacks its figure", entry.place, f"add one of {', '.join(METRICS)}")
            yield from ((self.of(fields.get("of")), accuracy) for accuracy in found)
        for where, column, cell in _table(entry, {"networks": "of"}):
            yield self.of(where["of"]), Accuracy(_metric(column), _percent(cell), **test)

    def recipe(self, value: Value) -> Iterator[tuple[frozenset[str], dict[str, str]]]:
        """Yield a training recipe."""
        entry = check_keys(value, ("of", *RECIPE), "a recipe")
        if entry.get("source") is None:
            raise SpecError("a recipe lacks `source`", entry.place)
        facts = {key: text_of(item) for key, item in _fields(entry).items() if key != "of"}
        yield self.of(entry.get("of")), facts

    def of(self, value: Value | None) -> frozenset[str]:
        """Return the networks that `of` names, one or a list; without `of` all."""
        if value is None:
            return self.networks
        if not _items(value):
            raise SpecError("`of` names no network", value.place)
        for item in _items(value):
            name = text_of(item)
            if name not in self.networks:
                raise SpecError(f"the spec has no network {shorten(name)!r}", item.place, suggest(name, self.networks))
        return frozenset(text_of(item) for item in _items(value))


def _accounting(value: Value) -> Accounting:
    for key in ("network", "against"):
        if isinstance(value, Mapping) and (other := value.get(key)):
            hint = "mention it in `clash`; for a variant of this network write `set`"
            raise SpecError("an accounting cannot use the figure of another network", other.place, hint)
    entry = check_keys(value, ACCOUNTING, "an accounting")
    formula, because = _formula(entry.get("value")), text_of(entry.get("because"))
    if entry.get("text") is None or len(entry.entries) < 2 + bool(because):
        raise SpecError("an accounting needs `text`, and `value`, `set`, `input`, `mode` or `convention`", entry.place)
    convention = text_of(entry.get("convention")) or "all"
    setting = Setting(read_changes(entry), text_of(entry.get("mode")), convention)
    return Accounting(text_of(entry.get("text")), setting, formula, because)


def _fields(entry: Mapping) -> Fields:
    return {key.text: item for key, item in entry.entries}


def _keyed(value: Value, key: str, known: Collection[str], what: str) -> Fields:
    """Return the keys of a column or cell; a text alone is the value of `key`."""
    return {key: value} if isinstance(value, Scalar) else _fields(check_keys(value, known, what))


def _table(entry: Mapping, axes: dict[str, str]) -> Iterator[tuple[Fields, Value, Value]]:
    """Yield each printed cell as a row's key from `axes` with its label, the column, and the cell."""
    columns = _items(entry.get("columns"))
    rows = [(axes[key.text], item) for key, item in entry.entries if key.text in axes]
    if columns and not rows:
        raise SpecError(f"columns need rows: {' or '.join(f'`{key}`' for key in axes)}", entry.place)
    if rows and not columns:
        raise SpecError("rows need `columns`", entry.place)
    for axis, table in rows:
        if not isinstance(table, Mapping):
            raise SpecError("rows need names, each with a list of cells", table.place)
        for label, row in table.entries:
            for column, cell in zip(columns, _cells(row, len(columns)), strict=True):
                if not (isinstance(cell, Scalar) and cell.text == NOT_PRINTED):
                    yield {axis: label}, column, cell


def _cells(row: Value, columns: int) -> tuple[Value, ...]:
    cells = _items(row)
    if len(cells) != columns:
        hint = f"write `{NOT_PRINTED}` where nothing is printed; quote a number with commas"
        problem = f"{counted(len(cells), 'cell')} for {counted(columns, 'column')}"
        raise SpecError(problem, row.place, hint)
    return cells


def _metric(value: Value) -> str:
    name = text_of(value)
    if name not in METRICS:
        raise SpecError(f"unknown accuracy {shorten(name)!r}", value.place, suggest(name, METRICS))
    return name


def _percent(value: Value) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text) or float(text) > 100:
        raise SpecError(f"not a percentage: {shorten(text)}", value.place, "write a number such as 24.7")
    return text


def _formula(value: Value | None) -> Formula | None:
    if value is None:
        return None
    mentions: set[str] = set()
    run = value_of(value, mentions).run
    if not mentions - set(FUNCTIONS):
        raise SpecError("a value must use figures", value.place, "write a formula such as macs / 2")

    def compute(figures: Numbers) -> Any:
        names = Names({}, figures, Budget(STEPS))
        try:
            return run(names)
        except Fault as fault:
            raise SpecError(str(fault), value.place) from None
        finally:
            names.budget.close(LEAST_STEPS)

    return compute
