"""Compare the PyTorch source of every network of the zoo with `build`: operation by operation, and by values.

`make proofs` runs it; NAME selects networks, `--random N` adds N random specs. Exit code 1 at a difference. The last
lines print how many sources are in blocks, how many layer by layer, and the CPU time to write them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.clashing_specs import Drawn
from support.source_runs import assert_same_operations, assert_same_values

from archcalc import ArchcalcError, Graph, load, networks, parse
from archcalc.catalog import origin, spec_to_expand
from archcalc.codegen.export import in_blocks, pytorch_source
from archcalc.codegen.trees import Unstructured
from archcalc.spec.network_spec import Spec, parse_spec

MOST_NODES = 60  # in a random network, so that it runs fast
Network = tuple[str, Graph, Spec, str]  # with its name in the spec


def zoo(names: Sequence[str]) -> Iterator[Network]:
    for name in names or networks():
        found = origin(name)
        yield name, load(name), spec_to_expand(found), found.network


def drawn(most: int) -> Iterator[Network]:
    made = seed = 0
    while made < most:
        text = Drawn(seed := seed + 1).text
        try:
            graph = parse(text)
        except ArchcalcError:
            continue
        if len(graph.nodes) < MOST_NODES:
            made += 1
            yield f"random spec {seed}", graph, parse_spec(text), "own"


def prove(networks: Iterator[Network], *proofs: Callable[[str, Graph], None]) -> int:
    """Print which sources differ, and where; return their number."""
    done = flat = wrong = 0
    seconds = 0.0
    for name, graph, spec, own in networks:
        start = time.process_time()
        source = pytorch_source(graph)
        seconds += time.process_time() - start
        try:
            in_blocks(graph, spec, own)
        except Unstructured as reason:
            flat += 1
            print(f"\r{name} is written layer by layer: {reason}")
        try:
            for proof in proofs:
                proof(source, graph)
        except (AssertionError, RuntimeError) as error:
            wrong += 1
            print(f"\r{name} differs: {error}")
        done += 1
        print(f"\r{done:,} ", end="", file=sys.stderr, flush=True)
    print(f"\r{done:,} sources: {done - flat:,} in blocks, {flat:,} layer by layer, {wrong:,} wrong")
    print(f"{seconds:.2f} s of CPU time to write them")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="number of random specs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    wrong = prove(drawn(given.random), assert_same_values) if given.random else 0
    if given.names or not given.random:
        wrong += prove(zoo(given.names), assert_same_operations, assert_same_values)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
