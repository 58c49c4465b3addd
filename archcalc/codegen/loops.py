"""Repeated layers: as a comprehension where channels go through the rounds by a rule, else round by round."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from archcalc.codegen.items import Item, Items, wrapped
from archcalc.codegen.naming import numbered
from archcalc.codegen.symbols import (
    Unstructured,
    add,
    call,
    const,
    difference,
    fold,
    mentions,
    multiply,
    name,
    same,
    substitute,
)  # fmt: skip
from archcalc.codegen.trace import rounds
from archcalc.codegen.values import Site, Values, is_reference, safe
from archcalc.language.expression import tree_of
from archcalc.language.plan import Each, Plan, Repeat

if TYPE_CHECKING:
    from archcalc.codegen.unit import Unit

FEW = 3  # rounds that are written out: no longer than a comprehension, and plainer
MANY = 400  # rounds that are not, however different: nobody reads so many lines of one block
ZERO = const(0)
RESERVED = {"in_channels", "channels", "height", "width"}  # arguments that the spec does not write


def repeated(unit: Unit, plan: Repeat | Each, site: Site, count: ast.expr | None) -> Items:
    """The modules of a loop that runs at least once somewhere; `count` of a repetition."""
    few = isinstance(count, ast.Constant) and len(site.runs[0].inner) <= FEW
    if few or (isinstance(plan, Each) and _names_blocks(plan, site)):
        return _one_by_one(unit, plan, site)
    try:
        return _comprehension(unit, plan, site, count)
    except Unstructured:
        return _one_by_one(unit, plan, site)


def _comprehension(unit: Unit, plan: Repeat | Each, site: Site, count: ast.expr | None) -> Items:
    generators, own = entered(plan, site, count)
    first = unit.make(plan.body, own)
    if same(first.channels, site.channels) or (first.channels is None and site.channels is None):
        return _listed(first.made, generators, first.channels)
    if first.channels is None or site.channels is None or mentions(first.channels) & _targets(generators):
        return _one_by_one(unit, plan, site)
    second = unit.make(plan.body, own._replace(channels=first.channels)).channels
    index = _index(site, generators)
    if same(second, first.channels):
        entry: ast.expr = ast.IfExp(ast.Compare(name(index), [ast.Eq()], [ZERO]), site.channels, first.channels)
        made = unit.make(plan.body, own._replace(channels=entry)).made
        return _listed(made, _numbered(generators, index), _ended(site, count, first.channels))
    growth = difference(first.channels, site.channels)
    if growth is None or count is None or second is None or not same(difference(second, first.channels), growth):
        return _one_by_one(unit, plan, site)
    entry = add(site.channels, multiply(name(index), growth))
    made = unit.make(plan.body, own._replace(channels=entry)).made
    return _listed(made, _numbered(generators, index), add(site.channels, multiply(count, growth)))


def _ended(site: Site, count: ast.expr | None, channels: ast.expr) -> ast.expr | None:
    """Channels after a loop whose every round gives the same, and which perhaps does not run at all."""
    if all(run.inner for run in site.runs):
        return channels
    return None if count is None or site.channels is None else ast.IfExp(count, channels, site.channels)


def _one_by_one(unit: Unit, plan: Repeat | Each, site: Site) -> Items:
    made: list[Item] = []
    channels = site.channels
    for body, own in unrolled(plan, site):
        items = unit.make(body, own._replace(channels=channels))
        made += items.made
        channels = items.channels
    return Items(made, channels)


def unrolled(plan: Repeat | Each, site: Site) -> list[tuple[Plan, Site]]:
    """The rounds of a loop as places of their own. Raises Unstructured where the runs do not agree on them."""
    tree = tree_of(plan.count if isinstance(plan, Repeat) else plan.rounds)
    site.assume(tree)
    counts = {len(run.inner) for run in site.runs}
    if len(counts) > 1 or max(counts) > MANY:
        raise Unstructured("rounds differ from one run to another, or are too many")
    targets = _variables(tree)
    return [(plan.body, _round(site, position, targets)) for position in range(counts.pop())]


def _round(site: Site, position: int, targets: set[str]) -> Site:
    runs = [run.inner[position] for run in site.runs]
    names: dict[str, ast.expr] = {}
    for text in targets:
        values = {repr(run.names[text]): run.names[text] for run in runs}
        if len(values) > 1:
            raise Unstructured(f"{text} differs from one run to another")
        value = next(iter(values.values()))
        if not is_reference(value):
            names[text] = const(value)
    return site._replace(runs=runs, names={**site.names, **names})


def _variables(tree: ast.expr) -> set[str]:
    """The names that a comprehension gives values to."""
    if not isinstance(tree, ast.GeneratorExp | ast.ListComp):
        return set()
    return {text for loop in tree.generators for text in mentions(loop.target)}


def _names_blocks(plan: Each, site: Site) -> bool:
    targets = _variables(tree_of(plan.rounds))
    return any(is_reference(run.names[text]) for run in rounds(site.runs) for text in targets)


def _loops(plan: Repeat | Each, site: Site, count: Any) -> tuple[list[ast.comprehension], dict[str, ast.expr]]:
    if isinstance(plan, Repeat):
        loop = ast.comprehension(ast.Name("_", ast.Store()), call("range", count), [], 0)
        return [loop], {}
    tree = tree_of(plan.rounds)
    assert isinstance(tree, ast.GeneratorExp | ast.ListComp)
    generators = [fold(loop) for loop in Values(site).generators(tree)[1]]
    taken = _taken(site)
    names = {text: name(numbered(safe(text), taken) if text != "_" else text) for text in sorted(_variables(tree))}
    return _renamed(generators, {safe(text): new for text, new in names.items() if new.id != safe(text)}), dict(names)


def _renamed(generators: list[ast.comprehension], names: dict[str, ast.expr]) -> list[ast.comprehension]:
    """Loops with other variables; what the first goes through is outside of them."""
    if not names:
        return generators
    made = [substitute(loop, names) for loop in generators]  # type: ignore[arg-type]  # any tree will do
    made[0].iter = generators[0].iter  # type: ignore[attr-defined]  # a loop again
    return made  # type: ignore[return-value]  # the same


def entered(plan: Repeat | Each, site: Site, count: Any) -> tuple[list[ast.comprehension], Site]:
    """The loops of a comprehension, and the site within."""
    generators, names = _loops(plan, site, count)
    return generators, site._replace(runs=rounds(site.runs), names={**site.names, **names})


def _targets(generators: list[ast.comprehension]) -> set[str]:
    return {text for loop in generators for text in mentions(loop.target)}


def _taken(site: Site) -> set[str]:
    """The names that mean something at a site, and those of which its unit may yet make arguments."""
    unit = site.unit
    values = [*site.names.values(), *([site.channels] if site.channels is not None else [])]
    taken = {text for value in values for text in mentions(value)}
    return taken | {*unit.program.params, *unit.own, *unit.local, *unit.holes} | RESERVED


def _index(site: Site, generators: list[ast.comprehension]) -> str:
    taken = _taken(site) | _targets(generators)
    known = next((text for text in ("i", "j", "index", "position", "round_number") if text not in taken), "")
    return known or numbered("i", taken)


def _numbered(generators: list[ast.comprehension], index: str) -> list[ast.comprehension]:
    """The loop with a counter."""
    first, *others = generators
    target = ast.Name(index, ast.Store())
    if isinstance(first.target, ast.Name) and first.target.id == "_" and not (others or first.ifs):
        return [ast.comprehension(target, first.iter, [], 0)]
    if others or first.ifs:
        raise Unstructured("a counter over several loops")
    return [ast.comprehension(ast.Tuple([target, first.target], ast.Store()), call("enumerate", first.iter), [], 0)]


def _listed(made: list[Item], generators: list[ast.comprehension], channels: ast.expr | None) -> Items:
    if not made:
        return Items([], channels)
    listed = ast.Starred(ast.ListComp(wrapped(made), generators), ast.Load())
    return Items([Item(listed, made[-1].label)], channels)
