"""What is published of the networks of a spec: printed figures, accuracies and training recipes.

They stand in the file beside the spec, or in the spec itself, and are read when they are asked for. Figures and
accuracies stand singly, or as a table: `columns` with a row for each network or layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from archcalc.catalog import published_file, shown, spec_of
from archcalc.errors import Place, SpecError, shorten, suggest
from archcalc.graph.graph import Origin
from archcalc.spec.expression import value_of
from archcalc.spec.functions import FUNCTIONS, Budget, Names
from archcalc.spec.layers import check_keys
from archcalc.spec.network_spec import OTHERS, Changes, read_changes, text_of
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value, parse_yaml, read_text

METRICS = ("top1_error", "top5_error", "top1", "top5")  # in percent
RECIPE = (
    "source", "dataset", "optimizer", "momentum", "learning_rate", "schedule", "batch", "epochs", "iterations",
    "weight_decay", "dropout", "label_smoothing", "gradient_clip", "initialization", "bn_momentum", "bn_eps",
    "augmentation", "loss", "note",
)  # fmt: skip
NOT_PRINTED = "-"  # a cell of a table that the source leaves empty
STEPS = 10_000  # that one expression over figures may take
LEAST_STEPS = 10  # that an expression over figures takes from a pool, however short it is
Fields: TypeAlias = dict[str, Value]
Facts: TypeAlias = tuple[tuple[frozenset[str], Any], ...]  # networks, and what holds of them


def _keys(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


ACCOUNTING = _keys("text", "value", "because", "set", "input", "mode", "convention")
CELL = _keys("printed", "to", "note", "clash", "explained_by")
COLUMN = _keys("figure", "what", "unit", "to", "mode", "value", "against", "note", "explained_by")
CLAIM = _keys("of", "layer", "source") | COLUMN | CELL
TABLE = _keys("of", "layer", "source", "note", "mode", "to", "against", "explained_by", "clash")  # what its cells share
ROWS = _keys("columns", "networks", "layers")
SAID = _keys("source", "dataset", "protocol", "note")  # of an accuracy


Reckoning: TypeAlias = Callable[[Any], Any]  # a figure from others, by their names


class Setting(NamedTuple):
    """What a figure is taken of, where it is not the network as it stands: another one, other params, input or mode."""

    changes: Changes = Changes()
    mode: str = ""  # "": that of the claim
    convention: str = "all"


class Accounting(NamedTuple):
    """Another way to count a figure, to explain a printed one: what it is, under which setting, and its arithmetic."""

    text: str
    setting: Setting
    value: Reckoning | None  # None: the figure itself, in that setting
    because: str = ""  # why it is not for the whole column of a table; "": it is


class Claim(NamedTuple):
    """A published figure: what it is of, the value as printed, where, and what is known of it."""

    figure: str
    printed: str
    source: str
    note: str = ""
    clash: str = ""  # why no accounting gives it
    what: str = ""  # its name for people, where that is not the figure's
    unit: str = ""  # of what `value` gives; "": a ratio
    to: str = ""  # what the printed number is rounded to, where its digits do not say it
    layer: str = ""  # the layer or block it is of; "": the network
    mode: str = "infer"
    value: Reckoning | None = None  # what is printed, where it is worked out from the figures
    against: str = ""  # the network whose figures `value` knows as `against`
    accountings: tuple[Accounting, ...] = ()
    places: dict[str, Place] = {}  # noqa: RUF012  # where each of its keys is written


class Accuracy(NamedTuple):
    """A published accuracy or error, in percent as printed. It is carried, not computed."""

    metric: str
    printed: str
    dataset: str
    protocol: str
    source: str
    note: str = ""


def claims_of(origin: Origin | None) -> tuple[Claim, ...]:
    """The printed figures of a network. Empty for one with other params or input, and for a graph without a spec.

    Raises SpecError, with its place, for an entry that is wrong, and ArchcalcError for a file that cannot be read.
    """
    return _published("published", origin)


def accuracies_of(origin: Origin | None) -> tuple[Accuracy, ...]:
    """The published accuracies of a network, as `claims_of`."""
    return _published("accuracy", origin)


def recipes_of(origin: Origin | None) -> tuple[dict[str, str], ...]:
    """The training recipes of a network, as `claims_of`."""
    return _published("recipe", origin)


def _published(key: str, origin: Origin | None) -> tuple[Any, ...]:
    if origin is None or origin.changed:
        return ()
    path = published_file(origin)
    facts = _facts(key, origin.text, origin.path, path, read_text(path) if path else "")
    return tuple(fact for networks, fact in facts if origin.network in networks)


@lru_cache(maxsize=128)
def _facts(key: str, text: str, path: str, beside: Path | None, beside_text: str) -> Facts:
    """What a spec, and the file beside it, say of their networks under a key of OTHERS."""
    spec = spec_of(Origin(text, path, ""))
    said = spec.others + (_entries(shown(beside), beside_text) if beside else ())
    reader = _Reader(frozenset(spec.networks()))
    read = {"published": reader.claims, "accuracy": reader.accuracy, "recipe": reader.recipe}[key]
    return tuple(fact for own, value in said if own == key for item in _items(value) for fact in read(item))


@lru_cache(maxsize=8)
def _entries(name: str, text: str) -> tuple[tuple[str, Value], ...]:
    root = check_keys(parse_yaml(text, name), OTHERS, "a file of published figures")
    return tuple((key.text, value) for key, value in root.entries)


def _items(value: Value | None) -> tuple[Value, ...]:
    """A list's items; one thing is a list of one."""
    if value is None:
        return ()
    return value.items if isinstance(value, Sequence) else (value,)


class _Reader:
    def __init__(self, networks: frozenset[str]) -> None:
        self.networks = networks
        self.accountings: dict[int, Accounting] = {}  # by the value they stand in: the cells of a column share theirs

    def claims(self, value: Value) -> Iterator[tuple[frozenset[str], Claim]]:
        """A published figure, or a table of them."""
        entry = check_keys(value, CLAIM | ROWS, "a published figure")
        fields = _fields(entry)
        if not ROWS.keys() & fields.keys():
            yield self.claim(fields, entry.place)
            return
        check_keys(value, TABLE | ROWS, "a table of published figures")
        for where, column, cell in _table(entry, {"networks": "of", "layers": "layer"}):
            for key in where.keys() & fields.keys():
                raise SpecError(f"`{key}` is said of the table and of its rows", fields[key].place)
            shared, own = _said(column, "figure", COLUMN, "a column"), _said(cell, "printed", CELL, "a cell")
            for item in _items(own.get("explained_by")):
                if not self.accounting(item).because:
                    hint = "or write it in the column, if it is for all rows"
                    raise SpecError("an accounting of one cell lacks `because`", item.place, hint)
            yield self.claim({**fields, **shared, **own, **where}, cell.place)

    def claim(self, fields: Fields, place: Place) -> tuple[frozenset[str], Claim]:
        for key in ("printed", "source"):
            if key not in fields:
                raise SpecError(f"a published figure lacks `{key}`", place)
        if "figure" not in fields and not {"what", "value"} <= set(fields):
            raise SpecError("a published figure lacks `figure`", place, "or `what` it is, with the `value`")
        if "value" in fields and ("figure" in fields or "layer" in fields):
            hint = 'a value has `what` and perhaps `unit`; in it, macs["conv1"] is that of a layer'
            raise SpecError("a value stands without `figure` and `layer`", fields["value"].place, hint)
        texts = ("figure", "printed", "source", "note", "clash", "what", "unit", "to", "layer", "against")
        claim = Claim(
            **{key: text_of(fields.get(key)) for key in texts},
            mode=text_of(fields.get("mode")) or "infer",
            value=_reckoning(fields.get("value")),
            accountings=tuple(self.accounting(item) for item in _items(fields.get("explained_by"))),
            places={key: item.place for key, item in fields.items()},
        )
        return self.of(fields.get("of")), claim

    def accounting(self, value: Value) -> Accounting:
        if id(value) not in self.accountings:
            self.accountings[id(value)] = _accounting(value)
        return self.accountings[id(value)]

    def accuracy(self, value: Value) -> Iterator[tuple[frozenset[str], Accuracy]]:
        """An accuracy, or a table of them: `columns` of METRICS, a row for each network."""
        table = isinstance(value, Mapping) and value.get("columns") is not None
        keys = SAID | _keys("columns", "networks") if table else _keys("of", *METRICS) | SAID
        entry = check_keys(value, keys, "a table of accuracies" if table else "an accuracy")
        fields = _fields(entry)
        if "source" not in fields:
            raise SpecError("an accuracy lacks `source`", entry.place)
        said = {key: text_of(fields.get(key)) for key in ("dataset", "protocol", "source", "note")}
        if not table:
            found = [Accuracy(key, _percent(fields[key]), **said) for key in METRICS if key in fields]
            if not found:
                raise SpecError("an accuracy lacks its figure", entry.place, f"one of {', '.join(METRICS)}")
            yield from ((self.of(fields.get("of")), accuracy) for accuracy in found)
        for where, column, cell in _table(entry, {"networks": "of"}):
            yield self.of(where["of"]), Accuracy(_metric(column), _percent(cell), **said)

    def recipe(self, value: Value) -> Iterator[tuple[frozenset[str], dict[str, str]]]:
        """A training recipe."""
        entry = check_keys(value, _keys("of", *RECIPE), "a recipe")
        if entry.get("source") is None:
            raise SpecError("a recipe lacks `source`", entry.place)
        facts = {key: text_of(item) for key, item in _fields(entry).items() if key != "of"}
        yield self.of(entry.get("of")), facts

    def of(self, value: Value | None) -> frozenset[str]:
        """The networks that something is said of: all, one, or a list."""
        if value is None:
            return self.networks
        if not _items(value):
            raise SpecError("`of` names no network", value.place)
        for item in _items(value):
            name = text_of(item)
            if name not in self.networks:
                raise SpecError(f"no network {shorten(name)!r} here", item.place, suggest(name, self.networks))
        return frozenset(text_of(item) for item in _items(value))


def _accounting(value: Value) -> Accounting:
    for key in ("network", "against"):
        if isinstance(value, Mapping) and (other := value.get(key)):
            hint = "name it in `clash`; for a variant of this network write `set`"
            raise SpecError("an accounting cannot use the figure of another network", other.place, hint)
    entry = check_keys(value, ACCOUNTING, "an accounting")
    reckoning, because = _reckoning(entry.get("value")), text_of(entry.get("because"))
    if entry.get("text") is None or len(entry.entries) < 2 + bool(because):
        raise SpecError("an accounting needs `text`, and a `value` or what is set otherwise", entry.place)
    convention = text_of(entry.get("convention")) or "all"
    setting = Setting(read_changes(entry), text_of(entry.get("mode")), convention)
    return Accounting(text_of(entry.get("text")), setting, reckoning, because)


def _fields(entry: Mapping) -> Fields:
    return {key.text: item for key, item in entry.entries}


def _said(value: Value, key: str, known: dict[str, str], what: str) -> Fields:
    """What a column or a cell says: a text alone is under `key`."""
    return {key: value} if isinstance(value, Scalar) else _fields(check_keys(value, known, what))


def _table(entry: Mapping, axes: dict[str, str]) -> Iterator[tuple[Fields, Value, Value]]:
    """Each printed cell with what its row says (the key of `axes` that its rows stand under) and its column."""
    columns = _items(entry.get("columns"))
    rows = [(axes[key.text], item) for key, item in entry.entries if key.text in axes]
    if columns and not rows:
        raise SpecError(f"columns need {' or '.join(f'`{key}`' for key in axes)}, with a row for each", entry.place)
    if rows and not columns:
        raise SpecError("rows need `columns`", entry.place)
    for axis, table in rows:
        if not isinstance(table, Mapping):
            raise SpecError("rows need names, each with its cells", table.place)
        for label, row in table.entries:
            for column, cell in zip(columns, _cells(row, len(columns)), strict=True):
                if not (isinstance(cell, Scalar) and cell.text == NOT_PRINTED):
                    yield {axis: label}, column, cell


def _cells(row: Value, columns: int) -> tuple[Value, ...]:
    cells = _items(row)
    if len(cells) != columns:
        hint = f"`{NOT_PRINTED}` stands for what is not printed; quote a number with commas"
        count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
        raise SpecError(f"{count} for {columns} column{'s' if columns != 1 else ''}", row.place, hint)
    return cells


def _metric(value: Value) -> str:
    name = text_of(value)
    if name not in METRICS:
        raise SpecError(f"no accuracy {shorten(name)!r}", value.place, suggest(name, METRICS))
    return name


def _percent(value: Value) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text) or float(text) > 100:
        raise SpecError(f"not a percentage: {shorten(text)}", value.place, "for example 24.7")
    return text


def _reckoning(value: Value | None) -> Reckoning | None:
    if value is None:
        return None
    mentions: set[str] = set()
    run = value_of(value, mentions).run
    if not mentions - set(FUNCTIONS):
        raise SpecError(
            "a value is worked out from figures", value.place, "for example macs / 2; a number explains nothing"
        )

    def work_out(figures: Any) -> Any:
        names = Names(figures, {}, Budget(STEPS))
        try:
            return run(names)
        finally:
            names.budget.close(LEAST_STEPS)

    return work_out
