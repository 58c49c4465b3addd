"""One count by one tool in a process that imports nothing else, for `bench/peers.py`.

    python bench/peer.py TOOL NETWORK [FOLDER]...

Print CPU times in ms as JSON: `process` up to the end of the first count; of it `torchvision`, its import, `build`,
making the module, and `first`, the count; `again` is a later count. And MiB: `memory` at the end of the first count, of
it `grown` by the import of torchvision. What favours the tool: weights are zeros that nobody initialises, on meta where
the tool works there; and the end of the process is not counted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from statistics import median
from typing import Any

from tools import TOOLS, Tool, torchvision_models

AGAIN = 1  # `bench/peers.py` takes medians


def _torchscan(module: Any, image: Any) -> float | None:
    from torchscan import crawl_module

    return crawl_module(module, tuple(image.shape[1:]))["totals"]["macs"]["value"]


def _archcalc(module: Any, image: Any) -> float | None:
    from archcalc import analyze, from_torch

    return analyze(from_torch(module, tuple(image.shape[1:]))).totals.macs


def _flax(module: Any, image: Any) -> float | None:
    import jax
    from flax import linen

    linen.tabulate(module, jax.random.key(0), compute_flops=True)(image)
    return None  # its result is a table


PEERS = {
    **{name: TOOLS[name] for name in ("torch", "torchinfo", "thop", "fvcore", "ptflops", "calflops")},
    "torchscan": Tool(_torchscan, "torchscan"),
    "flax": Tool(_flax, "flax"),
    "archcalc, of the module": Tool(_archcalc, "archcalc", on_cpu=False),
}


def of_torchvision(name: str, on_cpu: bool) -> tuple[Any, Any]:
    """Return a module of torchvision in evaluation, and an image."""
    import torch

    options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    with torch.device("meta"):
        module = torchvision_models().get_model(name, weights=None, **options).eval()
    side = 299 if name == "inception_v3" else 224
    if not on_cpu:
        return module, torch.zeros(1, 3, side, side, device="meta")
    module._apply(lambda tensor: torch.zeros_like(tensor, device="cpu"))
    return module, torch.zeros(1, 3, side, side)


def spent() -> float:
    return time.process_time() * 1e3


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(peer: str, name: str) -> dict[str, Any]:
    """Count once, and AGAIN times."""
    if peer == "flax":
        start, held, imported = spent(), memory(), spent()
        from flax_networks import network

        built, grown, (module, image) = spent(), 0.0, network(name)
    else:
        import torch

        start, held = spent(), memory()
        torchvision_models()
        imported, grown = spent(), memory() - held
        module, image = of_torchvision(name, PEERS[peer].on_cpu)
        torch.set_grad_enabled(False)
        built = spent()
    figure = PEERS[peer].count(module, image)
    process, most, again = spent(), memory(), []
    for _ in range(AGAIN):
        begin = spent()
        PEERS[peer].count(module, image)
        again.append(spent() - begin)
    parts = {"torchvision": imported - start, "build": built - imported, "first": process - built}
    return {"process": process, **parts, "again": median(again), "memory": most, "grown": grown, "figure": figure}


if __name__ == "__main__":
    sys.path[:0] = sys.argv[3:]
    warnings.simplefilter("ignore")
    try:
        result = measure(*sys.argv[1:3])
    except Exception as error:  # of a tool, which may raise anything
        result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    sys.stderr.flush()
    print(f"\n{json.dumps(result)}", flush=True)
    os._exit(0)
