"""The command `import`: write a network as a spec."""

from __future__ import annotations

from pathlib import Path

import click

from archcalc import __version__
from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, file_option, force_option, known_suffix, spec_options
from archcalc.cli.output import put, writable
from archcalc.spec.binding import GivenInput
from archcalc.spec.network_spec import SUFFIXES


@command("import")
@click.argument("source", type=NetworkName())
@spec_options
@file_option
@force_option
def import_network(
    source: str, settings: dict[str, str], shape: GivenInput | None, output: Path | None, force: bool
) -> None:
    """Write a network as a spec: a text with blocks, parameters and repeats, to read and to change.

    SOURCE is whatever the other commands take; of a spec that is one network, with params and variants filled in. The
    text is read again, and compared with the network: all layers and every total are equal, at inference and in
    training. `identity` stands where a branch does nothing. If the language lacks something, the error lists what and
    where, and no file is written.

    \b
    archcalc import torch:torchvision.models:resnet50@3x224x224 -o resnet50.yaml
    archcalc import yolov3.cfg
    archcalc import vgg16 --set classes=10
    """
    from archcalc.writing.recovery import spec_of_graph

    if output:
        known_suffix(output, SUFFIXES)
        writable(output, force)
    given = "".join(f", {key}={value}" for key, value in settings.items())
    header = " ".join(f"# Written by archcalc {__version__} from {source}{given}".split())
    put(f"{header}\n{spec_of_graph(load_with(source, settings, shape))}", output, force)
