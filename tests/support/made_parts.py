"""The parts of pages that are made from the code: commands, operators, imports, and figures by verdict."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module

import click
from test_architecture import ALLOWED

from archcalc import Graph, analyze, audit, load, networks
from archcalc.analysis import cost
from archcalc.analysis import figures as registry
from archcalc.analysis.cards import CARDS, find_card
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.fit import Space, batches, largest
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.auditing.verdicts import VERDICTS
from archcalc.cli import SETTINGS, cli
from archcalc.ops import FAMILIES, REGISTRY, Operator
from archcalc.render.tables.audit import TALLY, audit_table
from archcalc.render.tables.ops import ARITHMETIC, first_line, written
from support.pages import ROOT, in_process


def commands() -> str:
    """Return the help of each command."""
    return "\n".join(f"## archcalc {name}\n\n```text\n{text}\n```\n" for name, text in helps("", cli))


def helps(before: str, group: click.Group) -> Iterator[tuple[str, str]]:
    """Yield the commands of a group and of groups inside it, with their help."""
    for name in group.list_commands(click.Context(group)):
        command, full = group.get_command(click.Context(group), name), before + name
        assert command
        context = click.Context(command, info_name=f"archcalc {full}", **SETTINGS, terminal_width=100)
        yield full, command.get_help(context)
        if isinstance(command, click.Group):
            yield from helps(f"{full} ", command)


def operators() -> str:
    """Yield each operator with its description, by family."""
    return "\n".join(operators_by_family())


def operators_by_family() -> Iterator[str]:
    for family, names in FAMILIES.items():
        about = import_module(f"archcalc.ops.{family}").__doc__ or ""
        yield f"## {family.capitalize()}\n\n{about.strip()}\n"
        for cls in (REGISTRY[name] for name in names if name != "input"):
            rest = (cls.__doc__ or "").strip().partition("\n")[2]
            details = "\n".join(line.strip() for line in rest.strip().splitlines())
            yield f"### `{written(cls)}`\n\n{first_line(cls)}\n" + (f"\n{details}\n" if details else "")
            yield "".join(f"- {key.replace('_', ' ')}: {text}\n" for key, text in arithmetic(cls))


def arithmetic(cls: type[Operator]) -> Iterator[tuple[str, str]]:
    """Yield what an operator computes: forward, in training if that differs, and the gradients that it has."""
    for key in ARITHMETIC:
        text = cls.says(key)
        if text != (Operator.says(key) if key == "training_work" else "None."):
            yield key, plain(" ".join(text.split())).replace("\\`", "`")


def operator_class(name: str) -> str:
    """Return the code of an operator."""
    return f"```python\n{inspect.getsource(REGISTRY[name])}```\n"


def a_figure() -> str:
    """Return the code of one figure: its row in the registry, and its function."""
    row = re.search(r'^ *(Figure\("bytes_moved".*?\)),$', inspect.getsource(registry), re.DOTALL | re.MULTILINE)
    assert row
    dented = textwrap.dedent(f"    {row[1]}")
    return f"```python\n{dented}\n```\n\n```python\n{inspect.getsource(cost.bytes_moved)}```\n"


def definitions() -> str:
    """Return each figure with its unit and definition."""
    lines = [f"| `{figure.key}` | {figure.unit} | {plain(figure.means)} |" for figure in registry.FIGURES.values()]
    return "\n".join(["| key | unit | definition |", "| --- | --- | --- |", *lines, ""])


def keys(among: Iterable[str]) -> str:
    """Return the keys of figures in JSON, by type."""
    by_type: dict[str, list[str]] = {}
    for key in among:
        by_type.setdefault(json_type(registry.FIGURES[key]), []).append(f"`{key}`")
    lines = [f"| {', '.join(names)} | {kind} |" for kind, names in by_type.items()]
    return "\n".join(["| key | type |", "| --- | --- |", *lines, ""])


def json_type(figure: registry.Figure) -> str:
    """Return the type of a figure in JSON."""
    if figure.key in TYPES:
        return TYPES[figure.key]
    if figure.adds == registry.END:
        return "whole numbers or null"
    return "whole number" if figure.adds in (registry.SUM, registry.PATH) else "number or null"


def of_layers() -> list[str]:
    """Return the figures of a layer, except its shapes."""
    return [
        key for key, figure in registry.FIGURES.items() if figure.adds != registry.NETWORK and figure.unit != "shape"
    ]


def imports() -> str:
    """Draw which package imports which; leave out arrows that follow from others."""
    direct = {own: {name for name in others if name} for own, others in ALLOWED.items() if own and own[0] != "_"}
    lines = [
        f"    {own} --> {other}"
        for own, others in direct.items()
        for other in sorted(others)
        if not any(other in reached(direct, between) for between in others - {other})
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```", ""])


def reached(direct: Mapping[str, set[str]], start: str) -> set[str]:
    """Return all packages that a package may import, directly or through others."""
    found: set[str] = set()
    coming = [start]
    while coming:
        more = direct[coming.pop()] - found
        found |= more
        coming += more
    return found


def diagram() -> str:
    """Return a network as `archcalc graph` draws it."""
    return f"```mermaid\n{in_process(['graph', 'lenet5'])[1]}```\n"


@cache
def rows_by_verdict() -> dict[str, list[dict[str, object]]]:
    """Return the rows of `archcalc audit` for all networks, by verdict."""
    table = audit_table({name: audit(load(name)) for name in networks()})
    return {verdict: [dict(row) for row in table.rows if row["verdict"] == verdict] for verdict in VERDICTS}


def tally() -> str:
    """Return the number of figures with each verdict."""
    rows = rows_by_verdict()
    lines = [f"| {TALLY.get(verdict, verdict)} | {len(rows[verdict]):,} |" for verdict in VERDICTS]
    total = f"| **all** | **{sum(map(len, rows.values())):,}** |"
    return "\n".join(["| verdict | figures |", "| --- | ---: |", *lines, total, ""])


def figures(verdict: str) -> str:
    """Return the figures with a verdict, by source, with their remarks."""
    rows = sorted(rows_by_verdict()[verdict], key=lambda row: str(row["source"]))  # stable: networks stay in order
    lines = ["| network | figure | printed | computed | what is known |", "| --- | --- | ---: | ---: | --- |"]
    source = ""
    for row in rows:
        if row["source"] != source:
            source = str(row["source"])
            lines.append(f"| **{plain(source)}** | | | | |")
        figure = ": ".join(str(row[key]) for key in ("layer", "title") if row[key])
        cells = row["network"], figure, row["printed"], row["value"], row["remark"]
        lines.append(f"| {' | '.join(map(plain, cells))} |")
    return "\n".join([*lines, ""])


def plain(text: object) -> str:
    """Escape a text so that Markdown shows it unchanged."""
    return re.sub(r"([\\|*_<`\[~])", r"\\\1", str(text))


def largest_batches() -> str:
    """Return the largest batches that were measured under a cap, beside those of `archcalc fit`."""
    record = json.loads(next((ROOT / "bench" / "records").glob("*-fit.json")).read_text())
    lines = [
        "| network | cap | guaranteed | likely | at most | measured |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in (case for case in record["cases"] if case["module"] == "build"):
        cases = batches(load(case["network"]), Recipe(case["optimizer"], device="cuda"), find_card("h100"))
        found = largest(cases, Space(case["tries"][0]["cap"], case["tries"][0]["cap"]))
        cells = case["network"], f"{case['cap'] / 2**30:g} GiB", *found[:3], case["largest"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


TYPES = {  # types in JSON of figures that are not whole numbers
    "saved_bytes": "whole number or null",
    "peak_inference_bytes": "whole number or null",
    "peak_training_bytes": "whole number or null",
    "droppable_branches": "whole number or null",
    "receptive_field_at": "text",
    "field_status": "texts",
    "field_stride": "texts or null",
    "field_fixed": "pairs or null",
    "input": "whole numbers",
    "output": "whole numbers",
}


def memory_on_the_cpu() -> str:
    """Return the tables of the last run of `python bench/memory.py --record`."""
    record = json.loads((ROOT / "bench/records/cpu-phases.json").read_text())
    lines = [
        f"PyTorch {record['torch']}.",
        "",
        "| network | images | phases | differ | in kernels | peak with momentum |",
    ]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for row in record["networks"]:
        images = ", ".join(f"{n} of {side}×{side}" for n, side in zip(row["batches"], row["sides"], strict=True))
        counts = " | ".join(f"{row[key]:,}" for key in ("phases", "differing", "in_kernels", "peak"))
        lines.append(f"| {row['network']} | {images} | {counts} |")
    lines += ["", "| recipe, of six networks | phases | differ |", "| --- | ---: | ---: |"]
    lines += [f"| {row['recipe']} | {row['phases']:,} | {row['differing']:,} |" for row in record["recipes"]]
    return "\n".join([*lines, ""])


def gpus() -> str:
    """Return the cards with memory, peaks, bandwidth and source."""
    heads = "name", "other names", "architecture", "MiB", "float32 TFLOP/s", "TF32", "float16", "GB/s", "source"
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- |" + " ---: |" * 5 + " --- |"]
    for card in CARDS.values():
        memory = f"{card.mebibytes:,}" + " nominal" * (not card.reported)
        names = ", ".join(f"`{name}`" for name in card.aliases)
        peaks = card.fp32, card.tf32 or "–", card.fp16
        host = f"[{card.source.split('/')[2].removeprefix('www.')}]({card.source})"
        cells = f"`{card.key}`", names, card.architecture, memory, *peaks, f"{card.gigabytes_per_second:,}", host
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def other_estimators() -> str:
    """Return what `python bench/estimators.py` recorded, in GiB, beside archcalc and two formulas."""
    record = json.loads((ROOT / "bench/records/estimators.json").read_text())
    rows = {name: estimates(load(name), record["batch"], made) for name, made in record["networks"].items()}
    titles = next(iter(rows.values()))
    lines = [f"| network | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{count / 2**30:.2f}' for count in row.values())} |")
    return "\n".join([*lines, ""])


def estimates(graph: Graph, batch: int, recorded: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that a training needs: by archcalc on CUDA, as recorded, and by formulas of the parameters."""
    recipes = {"momentum": Recipe("momentum", device="cuda"), "Adam": Recipe("adam", device="cuda")}
    peaks = {name: max(peak.peak for peak in simulate(graph, own).peaks(batch)) for name, own in recipes.items()}
    params = analyze(graph).totals.params
    own = {f"archcalc, {name}": peak for name, peak in peaks.items()}
    return own | dict(recorded) | {"Accelerate, Adam": 16 * params, "DeepSpeed, Adam": 20 * params}


def conventions() -> str:
    """Return what each convention counts, misses and gets wrong."""
    lines = ["| convention | prints | tool | counts | misses | quirks |", "| --- | --- | --- | --- | --- | --- |"]
    for own in CONVENTIONS.values():
        cells = f"`{own.name}`", own.unit, own.tool or "–", own.text, own.misses or "–", own.quirks or "–"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


MADE: dict[str, Callable[[], str]] = {
    "commands": commands,
    "operators": operators,
    "a figure": a_figure,
    "an operator": partial(operator_class, "relu6"),
    "an operator with rules of its own": partial(operator_class, "leaky_relu"),
    "definitions of figures": definitions,
    "memory on the CPU": memory_on_the_cpu,
    "other estimators": other_estimators,
    "GPUs": gpus,
    "conventions": conventions,
    "keys of totals": partial(keys, registry.FIGURES),
    "keys of layers": partial(keys, of_layers()),
    "keys of compared networks": partial(keys, [*registry.numbers(), "receptive_field_at", "field_status"]),
    "imports": imports,
    "diagram of lenet5": diagram,
    "tally": tally,
    "largest batches": largest_batches,
    "contradicted figures": partial(figures, "contradicted"),
    "explained figures": partial(figures, "explained"),
}
