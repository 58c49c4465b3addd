"""Measure CPU time by size: parsing, expansion, analysis, simulated memory, alignment and rendering.

    python bench/scaling.py

First parse, expand and analyse generated specs of 1,000 to 100,000 layers: the time per layer of the largest may be at
most twice that at 1,000. `written` has one line per layer, so that reading counts too; `repeat` has the same layers as
`n * (…)`, and `most` 190,000 of them; in `early` each join reads the first layer (up to 20,000 layers), in `skips`
every fourth layer reads a label, `long` is one skip over a whole chain, in `dense` each layer reads all before it, and
`wide` is one join of all. Write the PyTorch source of `skips`. The same as for figures for the memory of an
inference and three steps with SGD and momentum, simulated for graphs that are parsed before. Then align two networks
whose layers all differ, render rows in each format, simulate resnet50, load resnet152 from the zoo (warm), and list the
whole zoo without its index.
"""

import gc
import sys
import time
from collections.abc import Callable

from archcalc import Graph, analyze, load, networks, parse
from archcalc.analysis.recipe import Recipe
from archcalc.analysis.simulation import simulate
from archcalc.codegen.export import pytorch_source
from archcalc.comparing.alignment import align
from archcalc.render.formats import FORMATS, render
from archcalc.render.tables.list import listing, row_of
from archcalc.render.tables.summaries import summarize

HEAD = "name: generated\ninput: [8, 32, 32]\nlayers:\n"
SIZES = (1_000, 10_000, 100_000)
MOST = (1_000, 10_000, 190_000)  # 200,000 layers are the limit
EARLY = (1_000, 5_000, 20_000)
LENGTHS = (990, 1_010, 5_000, 20_000)
LIMIT = 2.0
ROUNDS = 3


def written(layers: int) -> str:
    """Write one line per layer: convolutions, norms, activations and residual joins in turn."""
    kinds = ["conv(8, 3, padding=1, bias=False)", "batchnorm", "relu", "add(conv(8, 1), identity)"]
    lines, count = [], 0
    while count < layers:
        line = kinds[len(lines) % 4]
        lines.append(f"  - {line}")
        count += 3 if line.startswith("add") else 1
    return HEAD + "\n".join(lines) + "\n"


def repeated(layers: int) -> str:
    """Write the same in one line."""
    block = "conv(8, 3, padding=1, bias=False) | batchnorm | relu | add(conv(8, 1), identity)"
    return f"{HEAD}  - {layers // 6} * ({block})\n"


def early(layers: int) -> str:
    """Write joins that all read the first layer."""
    return f"{HEAD}  - a: conv(8, 1)\n  - {layers // 2} * add(x=use(a), y=relu)\n"


def skips(layers: int) -> str:
    """Write a chain in which every fourth layer reads a label."""
    step = "  - a{0}: conv(8, 1)\n  - relu\n  - conv(8, 1)\n  - add(x=use(a{0}), y=relu)\n"
    return HEAD + "".join(map(step.format, range(layers // 5)))


def long(layers: int) -> str:
    """Write one skip over a whole chain."""
    return f"{HEAD}  - conv(8, 1)\n  - add(x={layers // 2} * (conv(8, 3, padding=1) | relu), y=identity)\n"


def dense(layers: int) -> str:
    """Write a chain of which each layer reads all before it."""
    return f"{HEAD}  - {layers // 4} * concat(x=identity, y=conv(1, 1) | relu)\n"


def wide(layers: int) -> str:
    """Write one join of many branches."""
    return f"{HEAD}  - add(conv(8, 1) | relu for i in range({layers // 2}))\n"


def flat(layers: int, pair: str) -> str:
    """Write two operators in turn."""
    return f"{HEAD}  - {layers // 2} * ({pair})\n"


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def per_layer(make: Callable[[int], str], name: str, sizes: tuple[int, ...], simulated: bool = False) -> float:
    """Print the microseconds per layer at each size; return the ratio of the largest size to the smallest."""
    costs = []
    for size in sizes:
        text = make(size)
        graphs = [parse(text) for _ in range(ROUNDS)]
        layers, fresh = len(graphs[0].nodes), iter(graphs)  # what is computed once per graph counts each time
        calls = (lambda text=text: analyze(parse(text))), (lambda fresh=fresh: three_steps(next(fresh)))
        total = seconds(calls[simulated], ROUNDS)
        costs.append(total / layers * 1e6)
        print(f"{name:>9}  {layers:>7,} layers  {total:7.3f} s  {costs[-1]:6.1f} µs per layer")
    return costs[-1] / costs[0]


def source_of_skips() -> float:
    """Print the microseconds per layer to write a chain with skips as PyTorch source; return their ratio."""
    costs = []
    for size in EARLY[:2]:
        graph = parse(skips(size))
        costs.append(seconds(lambda graph=graph: pytorch_source(graph), 1) / len(graph.nodes) * 1e6)
        print(f"   source  {len(graph.nodes):>7,} layers  {costs[-1]:16.1f} µs per layer")
    return costs[-1] / costs[0]


def three_steps(graph: Graph) -> object:
    """Simulate the memory of an inference and three training steps, and find the peaks of a batch of 32."""
    return simulate(graph, Recipe("momentum", steps=3)).peaks(32)


def alignment() -> float:
    """Print the time to align two networks of each of LENGTHS layers; return the factor between 990 and 1,010."""
    found = []
    for length in LENGTHS:
        pairs = "conv(8, 1) | relu", "conv(8, 3, padding=1) | sigmoid"
        both = [analyze(parse(flat(length, pair))) for pair in pairs]
        found.append(seconds(lambda both=both: align(*both), rounds=3))
        print(f"   align  {length:>7,} layers  {found[-1]:7.3f} s")
    return max(found[0], found[1]) / min(found[0], found[1])


def drawing() -> None:
    """Print the time per row in each format, for 5,400 rows."""
    report = analyze(parse(repeated(5_400)))
    table = summarize(report, everything=True)
    rows = len(table.rows)
    print(f"    rows  {rows:>7,} made    {seconds(lambda: summarize(report, True), 3) / rows * 1e6:14.1f} µs per row")
    for form in FORMATS:
        cost = seconds(lambda form=form: render(table, form), rounds=2) / rows * 1e6
        print(f"    rows  {rows:>7,} as {form:<8} {cost:12.1f} µs per row")


def main() -> int:
    runs = ("written", written, SIZES), ("repeat", repeated, SIZES), ("early", early, EARLY)
    shapes = (
        ("most", repeated, MOST),
        ("skips", skips, SIZES),
        ("long", long, MOST),
        ("dense", dense, MOST),
        ("wide", wide, MOST),
    )
    ratios = {name: per_layer(make, name, sizes) for name, make, sizes in (*runs, *shapes)}
    ratios["source of skips"] = source_of_skips()
    print("simulated memory:")
    ratios |= {f"{name}, simulated": per_layer(make, name, sizes, simulated=True) for name, make, sizes in runs}
    for name, ratio in ratios.items():
        print(f"{name:>19}  time per layer, largest size against 1,000 layers: {ratio:.2f} (at most {LIMIT})")
    jump = alignment()
    print(f"   align  1,010 layers against 990: a factor of {jump:.2f} (at most {LIMIT})")
    drawing()
    again = iter([load("resnet50") for _ in range(20)])
    steps = seconds(lambda: three_steps(next(again)), rounds=20)
    print(f"resnet50, memory of three steps simulated: {steps * 1e3:.1f} ms (under 150)")
    warm = seconds(lambda: analyze(load("resnet152")), rounds=20)
    print(f"resnet152 loaded and analysed, warm: {warm * 1e3:.1f} ms (under 10)")
    zoo = seconds(lambda: listing(row_of(analyze(load(name))) for name in networks()), rounds=3)
    print(f"the whole zoo, {len(networks())} networks: {zoo:.2f} s (under 2)")
    return int(max(*ratios.values(), jump) > LIMIT or steps > 0.15 or warm > 0.010 or zoo > 2)


if __name__ == "__main__":
    sys.exit(main())
