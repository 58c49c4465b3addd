"""Groups of commands that suggest the nearest name for an unknown command, and import a command when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from archcalc.errors import suggest


class Commands(click.Group):
    """A group of commands that suggests the nearest name for an unknown command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0][:60]!r}; {suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


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
