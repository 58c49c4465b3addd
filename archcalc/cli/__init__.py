"""The command line: parse options, call the library, print the result; it computes nothing.

Exit codes: 0 done, 1 a check found a difference or nothing fits, 2 the request or the spec is wrong, 3 a bug in
archcalc.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import NoReturn

import click

from archcalc import __version__
from archcalc.cli.commands import Home, LazyCommands
from archcalc.errors import ArchcalcError, printable
from archcalc.spec.limits import shared

MAX_STEPS = 1_000_000  # of expansion for all networks of one command; the whole zoo takes 300,000
INTERNAL = 3  # exit code for a bug in archcalc
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COMMANDS = {
    "audit": Home("archcalc.cli.proofs", "audit_networks", "Check published figures."),
    "check": Home("archcalc.cli.checking", "check", "Find errors and unused parts in specs."),
    "compare": Home("archcalc.cli.comparing", "compare", "Compare networks side by side."),
    "conventions": Home(
        "archcalc.cli.conventions_command", "conventions", "Count FLOPs as each tool does, and say what it misses."
    ),
    "explore": Home("archcalc.cli.exploring", "explore", "Write a page to explore networks in a browser."),
    "export": Home(
        "archcalc.cli.exporting", "export", "Write tables of many networks, or a network's PyTorch source, to files."
    ),
    "explain": Home("archcalc.cli.explaining", "explain", "Show how figures are computed, as formulas."),
    "fit": Home("archcalc.cli.fitting", "fit_memory", "Find the largest batch or images that fit into memory."),
    "graph": Home("archcalc.cli.diagrams", "graph", "Draw the graph of a network."),
    "import": Home("archcalc.cli.importing", "import_network", "Write a network as a spec, with blocks and repeats."),
    "list": Home("archcalc.cli.listing", "list_networks", "List the networks that archcalc knows."),
    "lock": Home("archcalc.cli.locking", "lock", "Write figures and layers of networks to a file, to check against."),
    "memory": Home("archcalc.cli.memory_budget", "memory", "Show what memory training or inference needs."),
    "new": Home("archcalc.cli.first_steps", "new", "Write a first spec, or a copy of a network, to change."),
    "ops": Home("archcalc.cli.networks", "ops", "List the operators of the spec language."),
    "plot": Home("archcalc.cli.pictures", "plot", "Draw charts of networks as SVG, PNG or PDF."),
    "search": Home("archcalc.cli.sweeps", "search", "Find the best combination of some values under bounds."),
    "show": Home(
        "archcalc.cli.networks", "show", "Show a network's paper, training recipe, accuracies and published figures."
    ),
    "summarize": Home("archcalc.cli.networks", "summarize", "Show a network layer by layer."),
    "sweep": Home("archcalc.cli.sweeps", "sweep", "Compute figures for all combinations of some values."),
    "validate": Home("archcalc.cli.proofs", "validate_networks", "Compare figures with PyTorch."),
}


@click.group(cls=LazyCommands, homes=COMMANDS, context_settings=SETTINGS)
@click.version_option(__version__, package_name="archcalc")
def cli() -> None:
    """Calculate what a neural network costs: exact shapes, parameters, memory and FLOPs.

    \b
    archcalc list                       list all networks
    archcalc summarize vgg16            show a network layer by layer
    archcalc new my-net                 write a first spec
    archcalc summarize my-net.yaml      show your own network
    archcalc compare resnet50 vgg16     compare networks side by side
    archcalc memory vgg16 --batch 32    show what memory training needs
    archcalc explore vgg16 -o vgg.html  write a page to explore it in a browser
    archcalc export vgg16 -o vgg16.tex  write a table for a document
    archcalc plot pareto -o pareto.svg  draw a chart
    """
    click.get_current_context().with_resource(shared(MAX_STEPS, "one command"))


def main() -> NoReturn:
    """Run the command line; for a wrong request print one error and exit with code 2."""
    gc.disable()  # what a command makes forms no cycles; `torch_side` turns it on for PyTorch
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that the terminal lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(prog_name="archcalc", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        click.echo(request_error(error), err=True)
        code = 2
    except click.Abort:
        click.echo("stopped", err=True)
        code = 130
    except ArchcalcError as error:
        click.echo(f"error: {error}", err=True)
        code = 2
    except OSError as error:  # the standard output is full, e.g. in click's --help
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: {error.strerror}", err=True)
        code = 2
    except Exception as error:
        click.echo(internal(error), err=True)
        code = INTERNAL
    gc.freeze()  # otherwise the collector walks through everything once more at exit
    sys.exit(code)


def request_error(error: click.ClickException) -> str:
    """Return the text of an error in the options or arguments, with the usage of the command."""
    message = error.format_message()
    text = f"error: {message[:1].lower()}{message[1:]}"
    context = getattr(error, "ctx", None)
    return f"{text}\n{context.get_usage()}\nsee {context.command_path} --help" if context else text


def internal(error: Exception) -> str:
    """Return the text of a bug in archcalc: where it happened, and what to do."""
    import traceback  # hopefully never

    trace = "".join(traceback.format_exception(error))
    advice = "This is a bug in archcalc, not an error in your request. Please report it with all of the text above."
    return printable(f"{trace}internal error: {type(error).__name__}: {error}\n  {advice}")
