"""The command `new`: a first spec, to read and to change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import click

from archcalc.catalog import described, load_with, origin
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, file_option, force_option, given, known_suffix
from archcalc.cli.output import put, tell, writable
from archcalc.errors import ArchcalcError, one_line, printable, shorten
from archcalc.spec.network_spec import NAME_RULE, SUFFIXES, is_network_name

FIRST = """\
name: {name}
input: [3, 32, 32]  # channels, height, width; other axes by letter: {{C: 64, L: 16000}}

# Numbers to change, here or without editing: --set width=32
params: {{width: 16, depth: 2, classes: 10}}

# Pieces of the network, called by name; a parameter is what a call gives
blocks:
  conv_bn(channels, stride=1):  # the channels that come in are known: a layer never names them
    - conv(channels, 3, stride=stride, padding=1, bias=False) | batchnorm

  residual(channels):
    - add:  # the sum of two branches
        body: conv_bn(channels) | relu | conv_bn(channels)
        skip: identity
    - relu

# From the input to the output. `label: a | b` does a, then b; `n * a` repeats a
layers:
  - stem: conv_bn(width) | relu
  - stage1: depth * residual(width)
  - stage2: conv_bn(2 * width, stride=2) | relu | depth * residual(2 * width)
  - head: global_avgpool | flatten | linear(classes)
"""


@command()
@click.argument("name")
@click.option("--like", type=NetworkName(), metavar="NETWORK", help="Begin with the spec of this network alone.")
@file_option
@force_option
def new(name: str, like: str | None, output: Path | None, force: bool) -> None:
    """Write a first spec to NAME.yaml, with comments: a small network, or a copy of another one, to change.

    \b
    archcalc new my-net
    archcalc new my-net --like resnet50
    """
    if not is_network_name(name):
        hint = f"write archcalc new {name.rpartition('.')[0]}" if name.endswith(SUFFIXES) else NAME_RULE
        raise ArchcalcError(f"{shorten(name)!r} cannot be a network's name; {hint}")
    path = output if given("output") else Path(f"{name}.yaml")
    if path:
        known_suffix(path, SUFFIXES)
        writable(path, force)
    what, body = ("a small network", FIRST.format(name=name)) if like is None else copied(like, name)
    typed = [f"  {line}" for line in next_steps(str(path or f"{name}.yaml"), like)]
    header = [f"{what}, to change. Then type:", *typed]
    put("".join(f"# {one_line(line)}\n" for line in header) + body, path, force)
    if path:
        tell(printable("\n".join([f"wrote {path}: {what}. Change it, and type:", *typed])))


def next_steps(path: str, like: str | None) -> Iterator[str]:
    """Yield commands for the file, and what each does."""
    file = quote(path)
    steps = {f"archcalc check {file}": "finds mistakes", f"archcalc summarize {file}": "shows each layer"}
    if like and like != "-":
        steps[f"archcalc compare {quote(like)} {file}"] = "shows what a change costs"
    steps["archcalc ops"] = "lists the operators"
    width = max(map(len, steps))
    return (f"{step:{width}}  {why}" for step, why in steps.items())


def copied(like: str, name: str) -> tuple[str, str]:
    """Return what a copy of a network is, and its spec: cut from a text, or else written from its graph."""
    from archcalc.writing.excerpt import cut_out
    from archcalc.writing.recovery import compare, spec_of_graph

    graph = load_with(like, {}, title=name)
    found = origin(like)
    about = graph.about
    paper = " ".join(str(about.paper[key]) for key in ("authors", "year") if key in about.paper)
    said = f"{like}: {about.title}{f' ({paper})' if paper else ''}" if about.title else like
    try:
        text = cut_out(*described(found), name) if found else ""
        compare(graph, text)
    except ArchcalcError:
        text = spec_of_graph(graph)
    return f"a copy of {said}", text
