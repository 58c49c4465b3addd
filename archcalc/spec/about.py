"""What a spec says of its networks besides their layers: paper, published figures, accuracies, training recipe.

Published figures and accuracies stand singly, or as a table: `columns` with a row for each network or layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import Place, SpecError, printable, shorten, suggest
from archcalc.graph.graph import NO_PARAMS, About, Accounting, Accuracy, Claim, Reckoning, Setting
from archcalc.spec.expression import value_of
from archcalc.spec.functions import FUNCTIONS, Budget, Evaluate, Names
from archcalc.spec.layers import check_keys
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value

METRICS = ("top1_error", "top5_error", "top1", "top5")  # in percent
RECIPE = (
    "source", "dataset", "optimizer", "momentum", "learning_rate", "schedule", "batch", "epochs", "iterations",
    "weight_decay", "dropout", "label_smoothing", "gradient_clip", "initialization", "bn_momentum", "bn_eps",
    "augmentation", "loss", "note",
)  # fmt: skip
NOT_PRINTED = "-"  # a cell of a table that the source leaves empty
STEPS = 10_000  # that one expression over figures may take
SHAPE_STEPS = 100  # that the input's shape in a setting may take
LEAST_STEPS = 10  # that an expression over figures takes from a pool, however short it is

Fields: TypeAlias = dict[str, Value]
Facts: TypeAlias = tuple[tuple[frozenset[str], Any], ...]  # networks, and what holds of them


def _keys(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


PAPER = _keys("authors", "title", "year", "venue", "arxiv", "url")
ACCOUNTING = _keys("text", "value", "because", "set", "input", "mode", "convention")
CELL = _keys("printed", "to", "note", "clash", "explained_by")
COLUMN = _keys("figure", "what", "unit", "to", "mode", "value", "against", "note", "explained_by")
CLAIM = _keys("of", "layer", "source") | COLUMN | CELL
TABLE = _keys("of", "layer", "source", "note", "mode", "to", "against", "explained_by", "clash")  # what its cells share
ROWS = _keys("columns", "networks", "layers")
SAID = _keys("source", "dataset", "protocol", "note")  # of an accuracy


class Sayings(NamedTuple):
    """What holds of which networks of a spec."""

    claims: Facts = ()
    accuracy: Facts = ()
    recipes: Facts = ()

    def of(self, network: str, about: About) -> About:
        """`about` with what holds of one network."""
        claims, accuracy, recipes = (tuple(said for of, said in facts if network in of) for facts in self)
        return about._replace(claims=claims, accuracy=accuracy, recipes=recipes)


def text_of(value: Value | None) -> str:
    """A printable text on one line; "" for none. Raises SpecError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, Scalar) or not value.text:
        raise SpecError("a text is needed here", value.place)
    if printable(value.text) != value.text:
        raise SpecError("a text with a control character", value.place, "texts are printed: leave it out")
    return " ".join(value.text.split())


def read_about(root: Mapping, name: str) -> About:
    """Title, family and paper."""
    paper = root.get("paper")
    entries = check_keys(paper, PAPER, "paper").entries if paper is not None else ()
    facts: dict[str, Any] = {key.text: text_of(item) for key, item in entries}
    if "year" in facts:
        facts["year"] = _year(facts["year"], next(item.place for key, item in entries if key.text == "year"))
    return About(text_of(root.get("title")), text_of(root.get("family")) or name, MappingProxyType(facts))


def _year(text: str, place: Place) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise SpecError(f"not a year: {shorten(text)}", place)
    return int(text)


def read_sayings(root: Mapping, networks: tuple[str, ...]) -> Sayings:
    """Published figures, accuracies and recipes of a spec's networks."""
    reader = _Reader(frozenset(networks))
    parts = (
        (root.get("published"), reader.claims),
        (root.get("accuracy"), reader.accuracy),
        (root.get("recipe"), reader.recipe),
    )
    return Sayings(*(tuple(fact for item in _items(value) for fact in read(item)) for value, read in parts))


def read_setting(entry: Mapping) -> Setting:
    """What an alias or an accounting sets otherwise: params, input and, of an alias, the network."""
    params = entry.get("set")
    if params is not None and not isinstance(params, Mapping):
        raise SpecError("set needs names with values", params.place, "for example set: {size: 227}")
    shape = entry.get("input")
    size = value_of(shape)(_names({}, SHAPE_STEPS)) if shape else None
    if shape and not (isinstance(size, tuple) and size):
        raise SpecError("input needs a shape", shape.place, "for example input: [3, 227, 227]")
    return Setting(
        text_of(entry.get("network")),
        {key.text: value_of(item) for key, item in params.entries} if params else NO_PARAMS,
        size,
        text_of(entry.get("mode")),
        text_of(entry.get("convention")) or "all",
        entry.place,
    )


def _names(values: Any, steps: int) -> Names:
    return Names(values, {}, Budget(steps))


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
            shared = (
                {"figure": column} if isinstance(column, Scalar) else _fields(check_keys(column, COLUMN, "a column"))
            )
            own = {"printed": cell} if isinstance(cell, Scalar) else _fields(check_keys(cell, CELL, "a cell"))
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

    def recipe(self, value: Value) -> Iterator[tuple[frozenset[str], MappingProxyType[str, str]]]:
        """A training recipe."""
        entry = check_keys(value, _keys("of", *RECIPE), "a recipe")
        if entry.get("source") is None:
            raise SpecError("a recipe lacks `source`", entry.place)
        facts = {key: text_of(item) for key, item in _fields(entry).items() if key != "of"}
        yield self.of(entry.get("of")), MappingProxyType(facts)

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
    return Accounting(text_of(entry.get("text")), read_setting(entry), reckoning, because)


def _fields(entry: Mapping) -> Fields:
    return {key.text: item for key, item in entry.entries}


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
    run: Evaluate = value_of(value, mentions)
    if not mentions - set(FUNCTIONS):
        raise SpecError(
            "a value is worked out from figures", value.place, "for example macs / 2; a number explains nothing"
        )

    def work_out(figures: Any) -> Any:
        names = _names(figures, STEPS)
        try:
            return run(names)
        finally:
            names.budget.close(LEAST_STEPS)

    return work_out
