"""Pages that are made from the code are as the code is; `make golden` writes them anew."""

import os
from pathlib import Path

import click

from archcalc.cli import SETTINGS, cli
from archcalc.ops import FAMILIES, REGISTRY, signature
from archcalc.render.tables.ops import first_line, written

DOCS = Path(__file__).parent.parent / "docs"


def check_page(name, text):
    path = DOCS / name
    if os.environ.get("ARCHCALC_REWRITE"):
        path.write_text(text)
    assert path.read_text() == text


def test_cli_page():
    parts = ["# The command line\n\nMade from the code by `make golden`.\n"]
    for name in cli.list_commands(None):
        command = cli.get_command(None, name)
        options = SETTINGS | {"terminal_width": 100}
        context = click.Context(command, info_name=f"archcalc {name}", **options)
        parts.append(f"## archcalc {name}\n\n```text\n{command.get_help(context)}\n```\n")
    check_page("cli.md", "\n".join(parts))


def test_operators_page():
    parts = [
        "# Operators\n\nMade from the code by `make golden`. Arguments are PyTorch's, without the input channels.\n",
    ]
    for module in FAMILIES:
        parts.append(f"## {module.__name__.rpartition('.')[2].capitalize()}\n\n{(module.__doc__ or '').strip()}\n")
        for cls in (c for c in REGISTRY.values() if c.__module__ == module.__name__ and c.name != "input"):
            rest = (cls.__doc__ or "").strip().partition("\n")[2]
            details = "\n".join(line.strip() for line in rest.strip().splitlines())
            parts.append(f"### `{written(cls)}`\n\n{first_line(cls)}\n" + (f"\n{details}\n" if details else ""))
    check_page("operators.md", "\n".join(parts))


def test_signatures_are_what_make_takes():
    assert signature(REGISTRY["conv"]) == (
        "conv(out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, connections=None)"
    )
