"""Hold the formulas of symbols of each network of the zoo against its figures at random points.

Without NAME each network whose input has lengths, in all of them; with NAME and SYMBOLS one network, such as `resnet50
size,batch`. Print how many points were compared, and which networks have their formulas at one size only. Exit code 1
at a difference.
"""

import argparse
import sys
from pathlib import Path

from archcalc import load, networks
from archcalc.ops.shape import AXES

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.symbol_points import differences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?")
    parser.add_argument("symbols", nargs="?", default="size")
    parser.add_argument("--points", type=int, default=10, help="per network; default 10")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = {given.name: given.symbols.split(",")} if given.name else varying()
    failed, compared, single = 0, 0, []
    for name, symbols in chosen.items():
        wrong, tried = differences(name, symbols, given.points, given.seed)
        compared += tried
        single += [name] * (not tried)
        failed += len(wrong)
        for values, key in wrong:
            print(f"{name}: {key} differs at {values}")
    print(f"{len(chosen) - len(single)} networks, {compared:,} points, {failed} differences")
    print(f"{len(single)} with one size only: {', '.join(single)}")
    return int(failed > 0)


def varying() -> dict[str, list[str]]:
    """The networks of the zoo, and the lengths of their inputs as symbols."""
    axes = {name: load(name).input.axes.replace("C", "") for name in networks()}
    return {name: [f"in_{AXES[axis]}" for axis in own] for name, own in axes.items() if own}


if __name__ == "__main__":
    sys.exit(main())
