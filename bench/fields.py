"""Check the receptive fields of N random graphs against gradients; the test suite does it for 40.

The graphs branch, with gates, strides, dilation, ceil mode, transposed convolutions and upsampling; see
`tests/support/field_oracle.py`. Print how many positions of each kind were compared. At the first difference print the
graph and exit with code 1. The same seed draws the same graphs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fuzz import whole
from support.field_oracle import check, graphs

FEATURES = ("multiply", "concat", "add", "mean", "conv_transpose", "upsample", "groupnorm", "layernorm", "linear")


def main(written: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=whole(1), metavar="N", help="number of graphs")
    chosen = random.SystemRandom().randrange(10**6)
    parser.add_argument("seed", type=whole(0), metavar="SEED", nargs="?", default=chosen, help="default: random")
    given = parser.parse_args(written)
    torch.set_num_threads(1)  # small tensors gain nothing from more
    print(f"{given.graphs:,} graphs, seed {given.seed}", flush=True)
    counts: Counter[str] = Counter()
    features: Counter[str] = Counter()
    start = time.perf_counter()
    for own, graph in graphs(given.graphs, given.seed):
        names = {node.op.name for node in graph.nodes}
        features.update(name for name in FEATURES if name in names)
        features["ceil mode"] += any(getattr(node.op, "ceil_mode", False) for node in graph.nodes)
        try:
            check(graph, own, counts)
        except AssertionError as error:
            print(
                error, *(f"  {node.name} {node.op} of {node.inputs}: {node.output}" for node in graph.nodes), sep="\n"
            )
            return 1
    print("graphs with " + ", ".join(f"{name} {count:,}" for name, count in features.most_common()))
    print("positions: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    print(f"{given.graphs:,} graphs, 0 differences, seed {given.seed}, {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
