"""Run the tools that count FLOPs, and record what each prints of torchvision's networks.

    python bench/conventions.py [TOOL]... [--record FILE] [--networks NAMES] [--path FOLDER]... [--ultralytics FOLDER]

TOOL is one of `TOOLS`; without one, all of them. Each runs in a process of its own, on the module that archcalc builds
of every network in `torchvision/`, on torchvision's own module where its code calls modules only, and on a module that
calls functions that move values (`moving`). The record keeps what was counted before, so an interrupted run continues;
--again counts anew. The extra `bench` installs the tools but two: ultralytics-thop is a package of the same name as
thop, so unpack it into a folder of its own (--ultralytics); mmcv 1.7.2 is installed only by old tools, so unpack its
source and name the folder with --path.
Exit code 1: a figure of the record differs from archcalc's without a named cause.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from tools import TOOLS, torchvision_models, version_of

from archcalc import Graph, Report, analyze, load
from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.ledger import ledger_of
from archcalc.ops import REGISTRY
from archcalc.ops.base import values
from archcalc.ops.shape import Tokens

RECORD = Path(__file__).parent / "records" / "conventions.json"


HOMES = ("build", "torchvision", "moving")  # whose module a tool ran on
IMAGE = (4, 8, 8)  # for the module that moves values
FVCORE = ("fvcore", "fvcore-matmul", "mmengine")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--networks", default="", metavar="NAMES", help="only these, with commas between")
    parser.add_argument("--again", action="store_true", help="count again what the record has")
    parser.add_argument("--path", action="append", default=[], help="a folder to import tools from")
    parser.add_argument("--ultralytics", default="", metavar="FOLDER", help="where ultralytics-thop was unpacked")
    options = parser.parse_args()
    if unknown := [tool for tool in options.tools if tool not in TOOLS]:
        parser.error(f"no tool {', '.join(unknown)}; known: {', '.join(TOOLS)}")
    tools = options.tools or list(TOOLS)
    if "ultralytics" in tools and not options.ultralytics:
        parser.error("ultralytics: name the folder of ultralytics-thop with --ultralytics")
    stopped = [tool for tool in tools if alone(tool, options)]
    for tool in stopped:
        print(f"{tool}: stopped by the error above; the same command continues")
    return report(read(options.record)) or bool(stopped)


def alone(tool: str, options: argparse.Namespace) -> int | None:
    """Run one tool in a process of its own. Return its exit code."""
    process = multiprocessing.get_context("spawn").Process(target=count, args=(tool, options))
    process.start()
    process.join()
    return process.exitcode


def report(record: dict[str, Any]) -> int:
    """Print the differences by cause. Return 1 if one has no named cause."""
    found = Counter(cause_of(*case) for case in cases(record))
    for cause, count in found.items():
        print(f"{count:5} {cause or 'differ without a named cause'}")
    for case in cases(record):
        if not cause_of(*case):
            print(*case)
    return bool(found[""])


def cases(record: dict[str, Any]) -> list[tuple[str, str, str, int | str]]:
    """Return every recorded figure: whose module it is of, network, tool, and what the tool printed."""
    return [(home, name, *own) for home in HOMES for name, by in record[home].items() for own in by.items()]


def cause_of(home: str, name: str, tool: str, printed: int | str) -> str:
    """Return why a tool prints another figure than archcalc: "equal" if it does not, "" without a named cause."""
    if isinstance(printed, str):
        return "the tool fails"
    report = report_of(name)
    difference = printed * TOOLS[tool].times - (ledger_of(report, CONVENTIONS[tool]).figure or 0)
    if not difference:
        return "equal"
    if home == "build" and tool in FVCORE and difference == -same_padding(report.graph):
        return "padding='same' runs as aten::_convolution_mode, which the tool does not count"
    if tool == "fvcore-train" and printed == analyze(report.graph, mode="train", flops=tool).totals.flops:
        return "training runs the side outputs, too"
    if home == "torchvision" and "convnext" in name and difference == channels_last(report.graph, tool):
        return "torchvision writes ConvNeXt's blocks with channels last, as layer normalization and linear layers"
    return ""


@cache
def report_of(name: str) -> Report:
    """Return the figures of a network, or of the import of the module that moves values."""
    if name != "moving":
        return analyze(load(name))
    from archcalc.importers.torch import from_torch

    return analyze(from_torch(moving(), IMAGE))


def same_padding(graph: Graph) -> int:
    """Return the multiply-accumulates of convolutions with `padding="same"`."""
    nodes = [node for node in graph.without_sides().nodes if getattr(node.op, "padding", None) == "same"]
    return sum([node.op.work(node.x, node.output)["mac"] for node in nodes])


def channels_last(graph: Graph, tool: str) -> int:
    """Return what a tool counts more of ConvNeXt's blocks as torchvision writes them.

    1×1 convolutions are linear layers, and normalization is PyTorch's, with channels last. The scale is no module.
    """
    more = 0
    for node in graph.nodes:
        op: Any = node.op
        if node.name.endswith((".convs.channel_layernorm", ".convs.conv2", ".convs.conv3", ".layer_scale")):
            more -= sum((CONVENTIONS[tool].parts(op, node.x, node.output, 1) or {}).values())
            read, made = (Tokens((values(shape[1:]), shape[0])) for shape in (node.x or node.output, node.output))
            last = REGISTRY[{"conv": "linear", "channel_layernorm": "layernorm"}.get(op.name, "identity")]
            written = last(op.out_channels) if op.name == "conv" else last()
            more += sum((CONVENTIONS[tool].parts(written, read, made, 1) or {}).values())
    return more


def read(path: Path) -> dict[str, Any]:
    """Read a record: versions and dates by tool, and what each tool printed, or how it failed, by network."""
    return json.loads(path.read_text()) if path.exists() else {"tools": {}, **{home: {} for home in HOMES}}


def count(tool: str, options: argparse.Namespace) -> None:
    """Run one tool on all networks, and write each figure as soon as it is known."""
    sys.path[:0] = [*filter(None, [options.ultralytics] * (tool == "ultralytics")), *options.path]
    from archcalc.catalog import networks

    models = torchvision_models()
    version = " ".join(f"{name} {version_of(name)}" for name in (TOOLS[tool].distribution, "torch"))
    about = {"version": version, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat()}
    only = options.networks.split(",") if options.networks else []
    names = [name for name in networks() if name.startswith("torchvision/") and (not only or name in only)]
    for home in HOMES:
        for name in names if home != "moving" else ["moving"] * (not only):
            if home == "torchvision" and not calls_modules(name):
                continue
            if tool in read(options.record)[home].get(name, {}) and not options.again:
                continue
            image, module = made(name, home, models, TOOLS[tool].on_cpu)
            figure = counted(tool, module, image)
            record = read(options.record)
            record["tools"][tool] = about
            record[home].setdefault(name, {})[tool] = figure
            record[home] = dict(sorted(record[home].items()))
            part = options.record.with_suffix(".part")
            part.write_text(json.dumps(record, indent=0, sort_keys=True) + "\n")
            part.replace(options.record)
            print(f"{tool:12} {home:11} {name:36} {figure}", flush=True)
            del module


def counted(tool: str, module: Any, image: Any) -> int | str:
    """Return what the tool prints as a number, or the error that it raises."""
    import torch

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            figure = TOOLS[tool].count(module, image)
    except Exception as error:  # of a tool, which may raise anything
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    if figure is None:
        return "no figure"
    return int(figure) if figure == int(figure) else figure


def calls_modules(name: str) -> bool:
    """Whether torchvision's code calls modules only, as far as a tool can see a difference."""
    return not name.removeprefix("torchvision/").startswith(CALLS_FUNCTIONS)


CALLS_FUNCTIONS = (
    "densenet",
    "googlenet",
    "inception",
    "mnasnet",
    "mobilenet_v2",
    "shufflenet",
    "swin",
    "vit",
    "maxvit",
)


def made(name: str, home: str, models: Any, on_cpu: bool) -> tuple[Any, Any]:
    """Return an image and a network in evaluation, on meta or with weights of zeros."""
    import torch

    from archcalc.importers.torch import weights_on_meta
    from archcalc.pytorch import build

    with weights_on_meta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = name.removeprefix("torchvision/")
        makers = {"build": lambda: build(load(name)), "torchvision": lambda: models.get_model(short, weights=None)}
        module = makers.get(home, moving)()
    sizes = IMAGE if home == "moving" else load(name).input

    def filled(tensor: Any) -> Any:
        return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor

    module = (module._apply(filled) if on_cpu else module.to("meta")).eval()
    return torch.zeros(1, *sizes, device="cpu" if on_cpu else "meta"), module


def moving() -> Any:
    """Return a module that moves the values of a convolution by functions."""
    import torch
    from torch.nn import functional

    class Moving(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 1, bias=False)

        def forward(self, image: Any) -> Any:
            x = self.conv(image)
            chosen = torch.tensor([0, 1], device=x.device)
            moved = (
                x.view(-1, 256), x.reshape(-1, 256), x.transpose(1, 2), x.permute(0, 2, 3, 1), x.movedim(1, 2),
                x.swapaxes(1, 2), x.unsqueeze(1).squeeze(1), x[:, 1], x[:, 1:3], x.narrow(1, 0, 2), *x.chunk(2, 1),
                *x.split(3, 1), *x.unbind(1), torch.stack([x, x], 1), x.roll(1, 2), x.flip(2), x.unflatten(1, (2, 2)),
                x[:, :1].expand(-1, 4, -1, -1), x.repeat(1, 2, 1, 1), x.permute(0, 2, 3, 1).contiguous(), x.clone(),
                x[:, chosen], x.index_select(1, chosen), functional.pad(x, (1,) * 4), x.unfold(2, 2, 2), x.tril(),
                functional.pad(x, (1,) * 4, mode="reflect"), functional.unfold(x, 2), functional.pixel_shuffle(x, 2),
                functional.channel_shuffle(x, 2), functional.dropout(x, training=False), x.detach(),
                x.diagonal(dim1=2, dim2=3),
            )  # fmt: skip
            return torch.cat([one.flatten(1) for one in moved], 1)

    return Moving()


if __name__ == "__main__":
    sys.exit(main())
