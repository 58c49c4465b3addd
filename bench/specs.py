"""Write every network of the zoo as a spec, as `archcalc import` does, and read it again to the same figures.

`make proofs` runs it; NAME selects networks, `--random N` adds N random networks. Exit code 1 if one cannot be written.
The last line prints how many were written, and their lines beside their layers.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.random_graphs import networks as drawn
from support.random_graphs import sweep

from archcalc import ArchcalcError, Graph, load, networks, parse
from archcalc.writing.recovery import spec_of_graph


def write(graphs: Iterator[tuple[str, Graph]]) -> int:
    """Print which networks cannot be written, and why; return their number."""
    done = wrong = layers = lines = 0
    for name, graph in graphs:
        done += 1
        try:
            lines += len(spec_of_graph(graph).splitlines())
            layers += len(graph.nodes)
        except ArchcalcError as error:
            wrong += 1
            print(f"\r{name}: {error}")
        print(f"\r{done:,} ", end="", file=sys.stderr, flush=True)
    print(f"\r{done:,} networks, {wrong:,} not written; {layers:,} layers in {lines:,} lines")
    return wrong


def random_networks(most: int) -> Iterator[tuple[str, Graph]]:
    """Yield random networks, each with one side output at most: those that read each other cannot be written."""
    found: list[str] = []
    sweep(drawn(), lambda network: found.append(network.spec()), most)
    for number, text in enumerate(found):
        with suppress(ArchcalcError):  # a step that does not fit
            graph = parse(text)
            if len(graph.sides) < 2:
                yield f"random network {number}", graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="number of random networks")
    given = parser.parse_args()
    wrong = write(random_networks(given.random)) if given.random else 0
    if given.names or not given.random:
        wrong += write((name, load(name)) for name in given.names or networks())
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
