"""Commands that refuse doubled options, and groups of commands that suggest names and import a command when it runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from archcalc.errors import shorten, suggest

AFTER_PARSING = "archcalc.after_parsing"  # in `Context.meta`: functions of the context that need all parameters


def after_parsing(ctx: click.Context, function: Callable[[click.Context], None]) -> None:
    """Call a function once all parameters are read."""
    ctx.meta.setdefault(AFTER_PARSING, {})[function] = None


class Command(click.Command):
    """A command that refuses an option given twice, unless it can be repeated; click would ignore all but the last."""

    allow_extra_args = True  # they are refused here, with a hint

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for param, count in Counter(order).items():
            once = isinstance(param, click.Option) and not (param.multiple or param.is_flag)
            if count > 1 and once and not ctx.resilient_parsing:
                named = param.metavar == "NAMES"
                again = ", with commas between the names" if named else "; run the command once for each value"
                raise click.BadParameter(f"write it once{again}", ctx, param)
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            networks = any(param.type.name == "network" for param in self.params)
            hint = "; archcalc compare takes several networks" if networks else ""
            ctx.fail(f"one argument too many: {shorten(rest[0])!r}{hint}")
        for function in ctx.meta.get(AFTER_PARSING, ()):
            function(ctx)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        from archcalc.cli.progress import LINE  # --help does not need it

        LINE.working(f"{ctx.command_path} is working")
        try:
            return super().invoke(ctx)
        finally:
            LINE.clear()


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes such a command."""
    return click.command(name, cls=Command, **settings)


class Commands(click.Group):
    """A group of commands that suggests the nearest name for an unknown command."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            hint = suggest(args[0], self.list_commands(ctx)) or self.other_hint(ctx, args[0])
            ctx.fail(f"no command {shorten(args[0])!r}; {hint}")
        return super().resolve_command(ctx, args)

    def other_hint(self, ctx: click.Context, word: str) -> str:
        """Return a hint for a word that resembles no command."""
        return f"{ctx.command_path} --help lists them"


class Home(NamedTuple):
    """The module and function that define a command, and its line in the group's help."""

    module: str
    function: str
    help: str


class LazyCommands(Commands):
    """Commands by name, each imported when it is used; the group's help imports none of them."""

    def __init__(self, *args: Any, homes: Mapping[str, Home], **options: Any) -> None:
        super().__init__(*args, **options)
        self.homes = homes

    def other_hint(self, ctx: click.Context, word: str) -> str:
        from archcalc.catalog import networks, spelled

        known = os.path.lexists(word) or spelled(word) in networks(broken=lambda error: None)
        return f"did you mean archcalc summarize {shorten(word)}?" if known else super().other_hint(ctx, word)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.homes:
            return None
        home = self.homes[cmd_name]
        command: click.Command = getattr(import_module(home.module), home.function)
        command.short_help = home.help
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.homes[name].help) for name in self.list_commands(ctx)])
