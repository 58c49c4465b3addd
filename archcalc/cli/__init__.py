"""The command line: options are parsed, the library is called, the result is printed; nothing is computed here.

Exit codes: 0 done, 1 a check found a difference, 2 the request or the spec is wrong, 3 a mistake inside archcalc.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import NoReturn

import click

from archcalc import __version__
from archcalc.cli.commands import LazyCommands, Place
from archcalc.errors import ArchcalcError, printable
from archcalc.spec.limits import shared

MAX_STEPS = 1_000_000  # that the networks of one command may take together; all of the zoo take 120,000
INTERNAL = 3  # the exit code for a mistake of our own
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COMMANDS = {
    "audit": Place("archcalc.cli.proofs", "audit_networks", "Published figures, and whether they are right."),
    "check": Place("archcalc.cli.networks", "check", "What is wrong or unused in a spec."),
    "compare": Place("archcalc.cli.comparing", "compare", "Networks side by side."),
    "export": Place("archcalc.cli.exporting", "export", "Tables of many networks, or a network's source, as files."),
    "graph": Place("archcalc.cli.diagrams", "graph", "One network as a picture."),
    "list": Place("archcalc.cli.networks", "list_networks", "The networks archcalc knows."),
    "ops": Place("archcalc.cli.networks", "ops", "The operators of the spec language."),
    "plot": Place("archcalc.cli.pictures", "plot", "Pictures of networks, as SVG, PNG or PDF."),
    "show": Place("archcalc.cli.networks", "show", "What is known of a network."),
    "summarize": Place("archcalc.cli.networks", "summarize", "One network, layer by layer."),
    "validate": Place("archcalc.cli.proofs", "validate_networks", "The figures against PyTorch."),
}


@click.group(cls=LazyCommands, places=COMMANDS, context_settings=SETTINGS)
@click.version_option(__version__, package_name="archcalc")
def cli() -> None:
    """What a neural network costs: exact shapes, parameters, memory and FLOPs.

    \b
    archcalc list                       the networks it knows
    archcalc summarize vgg16            one network, layer by layer
    archcalc summarize my.yaml          your own
    archcalc compare resnet50 vgg16     networks side by side
    archcalc export vgg16 -o vgg16.tex  a table to paste
    archcalc plot pareto -o pareto.svg  pictures
    """
    click.get_current_context().with_resource(shared(MAX_STEPS, "one command"))


def main() -> NoReturn:
    """Run the command line; one clear error and exit code 2 for a wrong request."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal lacks is written out, and no error
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(standalone_mode=False)
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except click.Abort:
        click.echo("stopped", err=True)
        code = 130
    except ArchcalcError as error:
        click.echo(f"error: {error}", err=True)
        code = 2
    except OSError as error:  # the standard output is full, under click's own --help
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: {error.strerror}", err=True)
        code = 2
    except Exception as error:
        click.echo(internal(error), err=True)
        code = INTERNAL
    sys.exit(code)


def internal(error: Exception) -> str:
    """What is printed for a mistake of our own: where it happened, and what to do."""
    trace = "".join(traceback.format_exception(error))
    advice = "This is a mistake in archcalc, not in your request. Please report it with all of the text above."
    return printable(f"{trace}internal error: {type(error).__name__}: {error}\n  {advice}")
