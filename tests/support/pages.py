"""Pages of the documentation: their blocks are run, their parts that are made from the code are made again.

A fenced block says by its language what is done with it:

* `console`: each line `$ archcalc …` is run in this process, `$ cat …` and the like as a program; their output follows.
* `python`: run; where it has lines `>>> …`, what they print follows them.
* `yaml`: a spec, of which each network is expanded and analysed.

A comment on the line above it may say more, several things with `; ` between them: `file: small.yaml` writes the block
to a file for the blocks after it, `exit: 1` is the exit code of its commands, `raises: SpecError` names the exceptions
that Python shows, `not run: REASON` leaves it as it is. In what is printed, a line `…` stands for any number of lines.
All blocks of a page share one folder and one namespace.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archcalc import analyze, parse
from archcalc.cli import main
from archcalc.spec.network_spec import parse_spec

ROOT = Path(__file__).parent.parent.parent
A_PART = r"^<!-- made from the code: (?P<name>.+?) -->\n.*?^<!-- end -->$"
A_BLOCK = r"(?:^<!-- (?P<marks>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$"
PIECE = re.compile(f"{A_PART}|{A_BLOCK}", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MARKS = {"file", "exit", "raises", "not run"}
SHELL = {"cat", "head", "ls", "tail", "wc"}  # commands that a page may run beside archcalc
WIDTH = "100"


class Block(NamedTuple):
    """A fenced block, with the marks above it by name."""

    kind: str
    text: str
    marks: Mapping[str, str]


def pages() -> list[str]:
    """All pages, as paths from the root."""
    own = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return own + sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def block_of(found: re.Match[str]) -> Block:
    """A block that PIECE has found."""
    marks = dict(mark.partition(": ")[::2] for mark in (found["marks"] or "").split("; ") if mark)
    assert set(marks) <= MARKS, f"unknown marks: {marks}"
    return Block(found["kind"], found["text"], marks)


def fresh(text: str, folder: Path, made: Mapping[str, Callable[[], str]]) -> str:
    """A page as it is when its blocks are run now, in `folder`, and its parts are `made` now."""
    run = Run(folder)

    def renewed(found: re.Match[str]) -> str:
        if name := found["name"]:
            return f"<!-- made from the code: {name} -->\n\n{made[name]()}\n<!-- end -->"
        start, end = found.span("text")
        return f"{text[found.start() : start]}{run.block(block_of(found))}{text[end : found.end()]}"

    return PIECE.sub(renewed, text)


class Run:
    """The blocks of one page, run one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "page"}

    def block(self, block: Block) -> str:
        """The block's text as it is when it is run now."""
        if "file" in block.marks:
            (self.folder / block.marks["file"]).write_text(block.text, encoding="utf-8")
        if "not run" in block.marks:
            assert block.marks["not run"], "`not run` needs a reason"
            return block.text
        run = {"console": self.console, "python": self.python, "yaml": self.yaml}.get(block.kind)
        assert run, f"```{block.kind}: nothing runs such a block"
        return run(block)

    def console(self, block: Block) -> str:
        """Commands with what they print."""
        lines: list[str] = []
        for command, shown in exchanges(block.text):
            code, printed = self.command(shlex.split(command))
            assert code == int(block.marks.get("exit", "0")), f"{command}: exit code {code}\n{printed}"
            lines += [f"$ {command}", *steady(command, shown, kept(shown, printed.splitlines()))]
        return "".join(f"{line}\n" for line in lines)

    def command(self, words: Sequence[str]) -> tuple[int, str]:
        """The exit code of a command, and what it prints to both outputs."""
        if words[0] == "archcalc":
            return in_process(words[1:])
        assert words[0] in SHELL, f"{words[0]} is not run; the block needs `not run: REASON`"
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def python(self, block: Block) -> str:
        """Code, with what its lines `>>> …` print."""
        if ">>> " not in block.text:
            exec(compile(block.text, "page", "exec"), self.names)
            return block.text
        return "".join(self.examples(block))

    def examples(self, block: Block) -> Iterator[str]:
        """A session of Python as it goes now."""
        raises = block.marks.get("raises", "").split()
        for piece in doctest.DocTestParser().parse(block.text):
            if isinstance(piece, str):
                yield piece
                continue
            first, *more = piece.source.splitlines()
            yield "\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in more)]) + "\n"
            printed = kept(piece.want.splitlines(), self.printed(piece.source, raises).splitlines())
            assert all(printed), f"{first}: an empty line would end what a session shows"
            yield "".join(f"{line}\n" for line in printed)

    def printed(self, source: str, raises: Sequence[str]) -> str:
        """What a statement of a session prints, one of these exceptions included."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                exec(compile(source, "page", "single"), self.names)
            except Exception as error:
                if type(error).__name__ not in raises:
                    raise
                last = "".join(traceback.format_exception_only(error))
                out.write(f"Traceback (most recent call last):\n    ...\n{last}")
        return out.getvalue()

    def yaml(self, block: Block) -> str:
        """A spec, of which nothing is unused and each network has figures; claims are read by whoever audits."""
        if not block.marks.get("file", "").endswith(".published.yaml"):
            spec = parse_spec(block.text)
            assert spec.unused == (), f"{spec.name} has something unused"
            for network in spec.networks():
                assert analyze(parse(block.text, network), mode="train").totals.activations > 0
        return block.text


def exchanges(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines after it."""
    first, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first, f"a line before the first command: {first}"
    for command in commands:
        line, *shown = command.splitlines()
        yield line, shown


def kept(shown: Sequence[str], printed: list[str]) -> list[str]:
    """The lines that a page shows of what is printed: all, or as many as it has before and after a line `…`."""
    if "…" not in shown:
        return printed
    before = shown.index("…")
    after = len(shown) - before - 1
    return [*printed[:before], "…", *printed[len(printed) - after :]]


def steady(command: str, shown: Sequence[str], printed: list[str]) -> list[str]:
    """The lines that `validate` prints, with the seconds that the page shows: they differ from run to run."""
    if not command.startswith("archcalc validate ") or len(shown) != len(printed):
        return printed
    pairs = zip(shown, printed, strict=True)
    return [old if without_seconds(old) == without_seconds(new) else new for old, new in pairs]


def without_seconds(line: str) -> list[str]:
    """The words of a line but its seconds, as `4.2 s` or as the last number of a row."""
    return re.sub(r"\b\d+\.\d( s\b|$)", "", line).split()


def in_process(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command line of archcalc, and what it prints to both outputs, 100 columns wide."""
    out, argv = io.StringIO(), sys.argv
    sys.argv = ["archcalc", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main()
    except SystemExit as stop:
        return int(stop.code or 0), out.getvalue()
    finally:
        sys.argv = argv


def without_blocks(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """A page without its blocks and without code in its lines."""
    return re.sub(r"`[^`\n]*`", "", without_blocks(text))


def anchors(text: str) -> set[str]:
    """What links can point to in a page: its headings, written as GitHub does."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[f"{slug}-{found[slug]}" if found.get(slug) else slug] = 0
        found[slug] = found.get(slug, 0) + 1
    return set(found)


def broken_links(page: str, text: str) -> list[str]:
    """Links of a page to files that are not there, or to headings that these lack."""
    return [link for link in LINK.findall(prose(text)) if not (link.startswith("https://") or leads(page, text, link))]


def leads(page: str, text: str, link: str) -> bool:
    """Whether a link of a page with this text leads somewhere."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8") if path else text)


def missing_files(text: str) -> list[str]:
    """Paths in code spans that no file of the repository has; NAME in a path stands for any name."""
    named = re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|md|ya?ml|txt|csv|toml))`", without_blocks(text))
    roots = ROOT, ROOT / "archcalc", ROOT / "specs"
    return [path for path in named if "NAME" not in path and not any((root / path).is_file() for root in roots)]
