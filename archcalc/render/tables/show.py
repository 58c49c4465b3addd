"""Tables of what a spec says about a network beside its layers, for `archcalc show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archcalc.auditing.claims import Accuracy
from archcalc.auditing.verdicts import Verdict
from archcalc.graph.graph import Graph
from archcalc.ops import format_shape
from archcalc.ops.arguments import show
from archcalc.ops.shape import AXES
from archcalc.render.table import Column, Table, ends_data, input_data
from archcalc.render.tables.audit import CONDITIONS, verdict_table

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (Column("key", "", text=True), Column("value", "", text=True))
ACCURACY_COLUMNS = (
    Column("what", "Accuracy", text=True, data=False),
    Column("metric", "Metric", shown=False),
    Column("printed", "Percent"),
    Column("dataset", "Dataset", text=True),
    Column("protocol", "Protocol", text=True),
    Column("source", "Source", text=True),
    Column("note", "Note", shown=False),
)
METRICS = {
    "top1_error": "top-1 error", "top5_error": "top-5 error", "top1": "top-1 accuracy", "top5": "top-5 accuracy",
}  # fmt: skip
RECIPE_COLUMNS = (Column("key", "Training", text=True), Column("value", "", text=True))


def about_network(
    graph: Graph, verdicts: Sequence[Verdict], accuracies: Sequence[Accuracy], recipes: Sequence[Mapping[str, str]]
) -> Table:
    """Make the tables of paper, params, training recipe, accuracies and published figures with verdicts."""
    about = graph.about
    rows = [{"key": key, "value": value} for key, value in _facts(graph)]
    data = {
        "title": about.title,
        "family": about.family,
        "paper": dict(about.paper),
        **input_data(graph),
        **ends_data(graph),
        "params": {name: show(value) for name, value in about.params.items()},
        "recipes": list(recipes),
    }
    facts = {"schema": SCHEMA, "name": graph.name, **CONDITIONS}
    parts, label = list(_parts(verdicts, accuracies, recipes)), f"{graph.name}, facts"
    return Table(graph.name, COLUMNS, rows, "facts", facts, data=lambda: data, parts=parts, label=label)


def _facts(graph: Graph) -> Iterator[tuple[str, str]]:
    about = graph.about
    if about.title:
        yield "title", about.title
    if about.stands_for:
        yield "stands for", about.stands_for
    if about.paper:
        yield "paper", paper_text(about.paper)
    if about.family:
        yield "family", about.family
    names = ", " + format_shape([AXES[axis] for axis in graph.input.axes])
    single = format_shape(graph.input) + names * bool(graph.input.lengths)
    yield "input", single if len(graph.inputs) == 1 else graph.inputs_text
    if about.params:
        yield "params", ", ".join(f"{name}={show(value)}" for name, value in about.params.items())


def paper_text(paper: Mapping[str, Any]) -> str:
    """Cite a paper: `He et al. 2015. Deep residual learning for image recognition. arXiv:1512.03385`."""
    authors = " ".join(str(paper[key]) for key in ("authors", "year") if key in paper)
    arxiv = f"arXiv:{paper['arxiv']}" if "arxiv" in paper else ""
    return ". ".join(
        part for part in (authors, paper.get("title"), paper.get("venue"), arxiv, paper.get("url")) if part
    )


def _parts(
    verdicts: Sequence[Verdict], accuracies: Sequence[Accuracy], recipes: Sequence[Mapping[str, str]]
) -> Iterator[Table]:
    for recipe in recipes:
        rows = [{"key": key.replace("_", " "), "value": value} for key, value in recipe.items()]
        yield Table("", RECIPE_COLUMNS, rows, "")
    if accuracies:
        rows = [{**accuracy._asdict(), "what": METRICS[accuracy.metric]} for accuracy in accuracies]
        notes = dict.fromkeys(accuracy.note for accuracy in accuracies if accuracy.note)
        yield Table("", ACCURACY_COLUMNS, rows, "accuracy", notes=list(notes))
    if verdicts:
        yield verdict_table(verdicts, "infer")
