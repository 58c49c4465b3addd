"""Audit a paper's table: which convention, input and unit gives the printed digits of each cell.

All answers to a cell are listed. Of those that match equally well the plainest comes first: counted as PLAIN for the
input that the row states or the network's own; by a tool's convention; for another input or with side outputs;
in units of 1,024 or by another accounting. If there is a plain answer, its match is the verdict. A cell with other
answers is explained, one without is contradicted. A figure of few digits is explained only if another
cell of its row agrees for the same input.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast, add_known
from archcalc.analysis.conventions import CONVENTIONS, Convention
from archcalc.analysis.cost import Run, flops
from archcalc.analysis.figures import rule
from archcalc.analysis.report import Report, analyze
from archcalc.auditing.claims import Claim
from archcalc.auditing.figures import Figures
from archcalc.auditing.paper_rows import SIZES, PrintedCell, Row, read_input
from archcalc.auditing.printed import EVIDENCE, Number
from archcalc.auditing.verdicts import MATCHES, OPERATIONS, PLAIN, Verdict, Way, verdict_of
from archcalc.catalog import listed, load_with, networks
from archcalc.errors import ArchcalcError, Refusal, suggest
from archcalc.graph.graph import Graph
from archcalc.network_names import Meant, Names
from archcalc.ops import format_shape
from archcalc.ops.shape import Sizes
from archcalc.spec.limits import tightest

MANY_WAYS = ("params", *OPERATIONS)  # figures that some way of counting gives, whatever few digits they have
LARGE = re.compile(r"(?<!\d)2[12]k", re.IGNORECASE)  # in names of networks for the classes below
IMAGENET_21K = (21_841, 21_842, 21_843)  # classes, as datasets and libraries count them
NEAR = 1.05  # how far the params of a network that is searched for may be off, as by running statistics


class Answer(NamedTuple):
    """A way to count that gives the printed digits."""

    order: tuple[int, ...]  # what it takes for granted: an accounting, input or mode, tool; and its rank
    number: Number
    value: int
    text: str
    input: Sizes

    @property
    def steps(self) -> int:
        """How far it is from a plain answer: by a tool, by another input or mode, by units or another accounting."""
        return sum(self.order[:3])

    @property
    def evident(self) -> bool:
        """Whether its digits are evidence alone; each further step takes two more."""
        return self.number.evident and self.number.digits >= EVIDENCE + 2 * (self.steps - 1)


class Audited(NamedTuple):
    """A cell with its verdict; or a cell or row without one, whose remark says why."""

    row: Row
    networks: tuple[str, ...] = ()  # that the row may mean; the verdict is on the first
    cell: PrintedCell | None = None
    verdict: Verdict | None = None
    answers: tuple[Answer, ...] = ()
    remark: str = ""


class Setting(NamedTuple):
    """What a row may print figures of."""

    input: Sizes
    mode: str = "infer"
    stated: bool = True  # by the row, or it is the network's own
    classes: int = 0  # of another classifier; 0: the network's own

    @property
    def text(self) -> str:
        """What it is, for people."""
        sides = ", with side outputs" * (self.mode == "train")
        return f"at {format_shape(self.input)}{sides}" + f", {self.classes:,} classes" * (self.classes > 0)


class Count(NamedTuple):
    """A figure of a network by one accounting."""

    value: int
    text: str = ""
    tool: bool = False  # by a tool's convention
    other: bool = False  # by another accounting
    rank: int = 0  # how many are plainer


class Auditor:
    """Audits rows; figures of the same network, input and convention are computed once."""

    def __init__(self, given: Mapping[str, str] | None = None, search: bool = False) -> None:
        self.given = given or {}  # networks by the names of rows
        self.search = search
        self.names = Names(networks(broken=lambda error: None))
        self.find = lru_cache(10_000)(self.names.find)
        self.graph = lru_cache(64)(self._graph)
        self.inputs = lru_cache(10_000)(self._inputs)
        self.counts = lru_cache(10_000)(self._counts)

    def audit(self, row: Row) -> list[Audited]:
        """Return the verdicts on a row's cells; without a network one entry that says so."""
        meant = self.meant(row)
        if not meant.networks:
            merged = f"write the text of a merged cell into each row (line {row.place.line})"
            hint = suggest(row.label, self.names.known) or "name it in a column `archcalc` or with --network"
            hint = hint if row.label else merged
            return [Audited(row, remark=f"unknown network; {hint}")]
        try:
            tried = {name: self.answered(row, name) for name in meant.networks}
            best = max(tried, key=lambda name: _score(tried[name]))  # the first of equal ones
            answers = self.scanned(row, best, tried[best])
        except (ArchcalcError, Refusal) as error:  # an input that cannot be read, or that the network refuses
            where = f"{row.place}: " * isinstance(error, Refusal)
            return [Audited(row, meant.networks, remark=f"{where}{error}")]
        if meant.more and not _convincing(answers):
            verb = "are" if len(meant.more) > 1 else "is"
            text = f"{', '.join(meant.more)} {verb} not in the name of {best}, and no figure shows that it is meant"
            return [Audited(row, remark=f"unknown network; {text}")]
        order = best, *(name for name in meant.networks if name != best)
        return [self.judged(Audited(row, order, cell), answers) for cell in row.printed]

    def meant(self, row: Row) -> Meant:
        """Return the networks that a row means: as given, by its names, or those with its figures."""
        if row.label in self.given:
            return Meant((self.given[row.label],))
        named = row.names.get("archcalc", "")
        if named in self.names.known:
            return Meant((named,))
        found = [self.find(text) for text in ([named] if named else row.names.values())]
        best = min((meant for meant in found if meant.networks), key=lambda meant: bool(meant.more), default=Meant())
        return best if best.networks or not self.search else Meant(tuple(self.searched(row)))

    def searched(self, row: Row) -> Iterator[str]:
        """Yield the networks that have all figures of a row, if these are evidence."""
        printed = [way.number.value for cell in row.printed if cell.column.role == "params" for way in cell.ways]
        for name, params in self.params.items():
            if any(params / NEAR <= value <= params * NEAR for value in printed):
                answers = self.answered(row, name)
                if all(answers) and _convincing(answers):
                    yield name

    @cached_property
    def params(self) -> dict[str, int]:
        """The params of each network."""
        found = listed(_params, broken=lambda error: None)
        return {own["name"]: own["params"] for own in found if own["name"] in self.names.known}

    def answered(self, row: Row, name: str) -> list[list[Answer]]:
        """Return the answers of a network to each cell of a row. Raises ArchcalcError, and Refusal for its input."""
        settings = self.settings(row, name)
        return [self.answers(name, cell, settings) for cell in row.printed]

    def settings(self, row: Row, name: str) -> tuple[Setting, ...]:
        """Return the settings in which a row may print figures of a network, the plainest first."""
        return self.inputs(name, row.input, tuple(row.sides), bool(LARGE.search(row.label)))

    def _inputs(self, name: str, stated: str, sides: Sequence[int], large: bool) -> tuple[Setting, ...]:
        graph = self.graph(name, None, 0)
        own, given = tuple(graph.input), read_input(stated, graph.input)
        hinted = [(own[0], side, side) for side in sides] if len(own) == 3 else []
        shapes = dict.fromkeys([tuple(self.graph(name, given, 0).input)] if given else [*hinted, own])
        made = [Setting(shape) for shape in shapes]
        made += [Setting(shape, "train", stated=False) for shape in shapes if graph.sides]
        made += [Setting(own, stated=False)] * (own not in shapes)
        heads = IMAGENET_21K if large and "classes" in graph.about.params else ()
        return (*made, *[setting._replace(classes=head, stated=False) for head in heads for setting in made])

    def scanned(self, row: Row, name: str, answers: list[list[Answer]]) -> list[list[Answer]]:
        """Add answers for images of other sizes to cells that have none, if their digits are evidence alone."""
        own = self.settings(row, name)[0]
        return [
            self.answers(name, cell, [*self.sizes(name, cell, own)])
            if not found and len(own.input) == 3 and any(way.number.evident for way in cell.ways)
            else found
            for found, cell in zip(answers, row.printed, strict=True)
        ]

    def sizes(self, name: str, cell: PrintedCell, own: Setting) -> Iterator[Setting]:
        """Yield settings with images of other sizes that may give a printed number, by how operations grow."""
        role, before = cell.column.role, self.counts(cell.column.role, name, own)
        for side in SIZES:
            setting = own._replace(input=(own.input[0], side, side), stated=False)
            if role == "params" and self.counts(role, name, setting) == before:
                return  # no size changes them
            ratio = (side / own.input[1]) ** 2
            printed = (float(way.number.value) / ratio for way in cell.ways)
            if role not in OPERATIONS or any(_between(before, value * 0.8, value * 1.25) for value in printed):
                yield setting

    def answers(self, name: str, cell: PrintedCell, settings: Sequence[Setting]) -> list[Answer]:
        """Return the answers of a network to a cell, the plainest of the best matches first."""
        found: dict[Any, Answer] = {}
        ways = [(way, way.number.range) for way in cell.ways]
        for setting in settings:
            counts = self.counts(cell.column.role, name, setting)
            for way, possible in ways:
                for count in _between(counts, *possible):
                    if way.number.verdict(count.value):
                        text = ", ".join(filter(None, (f"{count.text} {setting.text}".strip(), way.unit)))
                        order = way.binary or count.other, not setting.stated, count.tool, count.rank
                        own = Answer(order, way.number, count.value, text, setting.input)
                        found.setdefault((count.text, count.value, way.unit), own)
        return sorted(found.values(), key=lambda own: (MATCHES.index(own.number.verdict(own.value)), own.order))

    def judged(self, audited: Audited, answers: Sequence[Sequence[Answer]]) -> Audited:
        """Return a cell with the verdict on it."""
        row, (name, *_), cell = audited.row, audited.networks, audited.cell
        assert cell
        own, settings = answers[row.printed.index(cell)], self.settings(row, name)
        counts = next(filter(None, (self.counts(cell.column.role, name, setting) for setting in settings)), ())
        plain = min(counts, key=lambda count: count.rank, default=None)
        if cell.problem or not plain:
            return audited._replace(remark=cell.problem or f"the figure is unknown for {name}")
        claim, computed = Claim(cell.column.role, cell.text, str(cell.place), what=cell.column.title), plain.value
        ways = [Way(cell.ways[0].number, computed), *(Way(a.number, a.value, a.text if a.steps else "") for a in own)]
        verdict, audited = verdict_of(claim, computed, ways), audited._replace(answers=tuple(own))
        agree = {a.input for found in answers if found is not own for a in found if not a.steps or a.evident}
        together = own and own[0].input in agree and own[0].steps == 1
        if verdict.verdict == "explained" and not (own[0].evident or together) and cell.column.role in MANY_WAYS:
            return audited._replace(remark="so few digits are no evidence")
        return audited._replace(verdict=verdict)

    def _graph(self, name: str, shape: Sizes | None, classes: int) -> Graph:
        """Load a network, perhaps for another input; by its param `size` if it has one. Raises ArchcalcError."""
        params = {"classes": classes} if classes else {}
        own = load_with(name, params) if shape is None else self.graph(name, None, classes)
        if shape is None or shape == tuple(own.input):
            return own
        if "size" in own.about.params and len({*own.input[1:]}) == len({*shape[1:]}) == 1 and own.input[0] == shape[0]:
            return load_with(name, params | {"size": shape[1]})
        return load_with(name, params, shape)

    def _counts(self, role: str, name: str, setting: Setting) -> tuple[Count, ...]:
        """Return a network's figures in a setting, by value; none if it refuses the input."""
        try:
            made = [*_counted(role, analyze(self.graph(name, setting.input, setting.classes), mode=setting.mode))]
        except ArchcalcError:
            if (pool := tightest()) and not pool.left:  # no network can be loaded any more
                raise
            return ()
        known = [count for count in made if count.value is not None and not isinstance(count.value, AtLeast)]
        return tuple(sorted(count._replace(rank=rank) for rank, count in enumerate(known)))


def _between(counts: Sequence[Count], least: float, most: float) -> Sequence[Count]:
    value = attrgetter("value")
    return counts[bisect_left(counts, least, key=value) : bisect_right(counts, most, key=value)]


def _counted(role: str, report: Report) -> Iterator[Count]:
    if role in ("params", "param_bytes"):
        yield from (Count(value, text, other=bool(text)) for text, value in _parts(report, rule(role)))
        if statistics := report.totals.running_statistics * (1 if role == "params" else 4):
            yield Count(getattr(report.totals, role) + statistics, "with running statistics", other=True)
    elif role in OPERATIONS:
        alike: dict[tuple[Any, ...], list[str]] = {}
        for name in dict.fromkeys((*PLAIN, *CONVENTIONS)):
            alike.setdefault(tuple(_parts(report, _operations(report, CONVENTIONS[name]))), []).append(name)
        for parts, names in alike.items():
            tool = names[0] not in PLAIN or (role, names[0]) == ("macs", "all")
            yield from (Count(value, f"{', '.join(names)} {text}".strip(), tool, bool(text)) for text, value in parts)
    else:
        yield Count(Figures(report).figure(role))


def _operations(report: Report, convention: Convention) -> Callable[[Run], int | None]:
    conditions = report.runs[0].conditions._replace(convention=convention)
    return lambda run: flops(run._replace(conditions=conditions))


def _parts(report: Report, count: Callable[[Run], int | None]) -> Iterator[tuple[str, Any]]:
    """Yield a sum; without the linear layers behind the last layer with positions; and without all behind it."""
    known = {id(run): count(run) for run, _ in report.distinct}
    values = [known[id(run)] for run in report.runs]
    end = report.field_end if len(report.graph.input) == 3 else 0
    yield "", add_known(values)
    head = [node.op.name == "linear" and i > end > 0 for i, node in enumerate(report.ran.nodes)]
    if any(head) and None not in values:
        kept = [value or 0 for value, own in zip(values, head, strict=True) if not own]
        yield "without the classifier", sum(kept)
        if any(kept[end + 1 :]):
            yield "without pooling and the classifier", sum(kept[: end + 1])


def _convincing(answers: Sequence[Sequence[Answer]]) -> bool:
    """Whether figures show which network a row means: one that is evident, or two with nearly plain answers."""
    found = [own[0] for own in answers if own]
    return any(answer.evident for answer in found) or sum(answer.steps < 2 for answer in found) > 1


def _score(answers: Sequence[Sequence[Answer]]) -> tuple[int, int]:
    """Return how many cells have answers, and how many have plain ones."""
    return sum(map(bool, answers)), sum(any(not answer.steps for answer in own) for own in answers)


def _params(graph: Graph) -> dict[str, Any]:
    return {"name": graph.name, "params": analyze(graph).totals.params}
