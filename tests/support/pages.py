"""Run the blocks of the documentation's pages, and make the parts again that are made from the code.

The language of a fenced block decides what happens with it:

* `console`: each line `$ archcalc …` runs in this process, `$ cat …` and others in SHELL as a program; their output
  follows.
* `python`: the code runs; lines `>>> …` are followed by what they print.
* `yaml`: a spec; each of its networks is expanded and analysed.

A comment on the line above may have marks, separated by `; `: `file: small.yaml` writes the block to a file for the
blocks after it, `exit: 1` is the exit code of its commands, `raises: SpecError` names the exceptions that Python shows,
`not run: REASON` leaves it unchanged. In output, a line `…` means any number of lines. All blocks of a page share one
folder and one namespace.
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
SHELL = {"cat", "head", "ls", "tail", "wc"}  # programs that a page may run beside archcalc
WIDTH = "100"


class Block(NamedTuple):
    """A fenced block, with the marks above it by name."""

    kind: str
    text: str
    marks: Mapping[str, str]


def pages() -> list[str]:
    """Return all pages, as paths from the root."""
    own = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return own + sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def block_of(found: re.Match[str]) -> Block:
    """Read a block that PIECE has found."""
    marks = dict(mark.partition(": ")[::2] for mark in (found["marks"] or "").split("; ") if mark)
    assert set(marks) <= MARKS, f"unknown marks: {marks}"
    return Block(found["kind"], found["text"], marks)


def fresh(text: str, folder: Path, made: Mapping[str, Callable[[], str]]) -> str:
    """Return a page after its blocks were run in `folder`, and its parts `made` again."""
    run = Run(folder)

    def renewed(found: re.Match[str]) -> str:
        if name := found["name"]:
            return f"<!-- made from the code: {name} -->\n\n{made[name]()}\n<!-- end -->"
        start, end = found.span("text")
        return f"{text[found.start() : start]}{run.block(block_of(found))}{text[end : found.end()]}"

    return PIECE.sub(renewed, text)


class Run:
    """Runs the blocks of one page one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "page"}

    def block(self, block: Block) -> str:
        """Run a block. Returns its text with the new output."""
        if "file" in block.marks:
            (self.folder / block.marks["file"]).write_text(block.text, encoding="utf-8")
        if "not run" in block.marks:
            assert block.marks["not run"], "`not run` needs a reason"
            return block.text
        run = {"console": self.console, "python": self.python, "yaml": self.yaml}.get(block.kind)
        assert run, f"```{block.kind}: nothing runs such a block"
        return run(block)

    def console(self, block: Block) -> str:
        """Return commands with their output."""
        lines: list[str] = []
        for command, shown in exchanges(block.text):
            code, printed = self.command(shlex.split(command))
            assert code == int(block.marks.get("exit", "0")), f"{command}: exit code {code}\n{printed}"
            lines += [f"$ {command}", *steady(command, shown, kept(shown, printed.splitlines()))]
        return "".join(f"{line}\n" for line in lines)

    def command(self, words: Sequence[str]) -> tuple[int, str]:
        """Run a command. Returns its exit code, and what it prints to stdout and stderr."""
        if words[0] == "archcalc":
            return in_process(words[1:])
        assert words[0] in SHELL, f"{words[0]} is not run; the block needs `not run: REASON`"
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def python(self, block: Block) -> str:
        """Return code with the output of its lines `>>> …`."""
        if ">>> " not in block.text:
            exec(compile(block.text, "page", "exec"), self.names)
            return block.text
        return "".join(self.examples(block))

    def examples(self, block: Block) -> Iterator[str]:
        """Run a session of Python. Returns it with the new output."""
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
        """Return what a statement of a session prints, or one of these exceptions."""
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
        """Check a spec: nothing in it is unused, and each network has figures. Claims are not read here."""
        if not block.marks.get("file", "").endswith(".published.yaml"):
            spec = parse_spec(block.text)
            assert spec.unused == (), f"{spec.name} has something unused"
            for network in spec.networks():
                assert analyze(parse(block.text, network), mode="train").totals.activations > 0
        return block.text


def exchanges(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines after it."""
    first, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first, f"a line before the first command: {first}"
    for command in commands:
        line, *shown = command.splitlines()
        yield line, shown


def kept(shown: Sequence[str], printed: list[str]) -> list[str]:
    """Return the lines of output that a page shows: all, or as many as it has before and after a line `…`."""
    if "…" not in shown:
        return printed
    before = shown.index("…")
    after = len(shown) - before - 1
    return [*printed[:before], "…", *printed[len(printed) - after :]]


def steady(command: str, shown: Sequence[str], printed: list[str]) -> list[str]:
    """Return the lines of `validate` with the seconds of the page, since they differ from run to run."""
    if not command.startswith("archcalc validate ") or len(shown) != len(printed):
        return printed
    pairs = zip(shown, printed, strict=True)
    return [old if without_seconds(old) == without_seconds(new) else new for old, new in pairs]


def without_seconds(line: str) -> list[str]:
    """Return the words of a line except seconds: `4.2 s`, or the last number of a row."""
    return re.sub(r"\b\d+\.\d( s\b|$)", "", line).split()


def in_process(arguments: Sequence[str]) -> tuple[int, str]:
    """Run archcalc, 100 columns wide. Returns its exit code, and what it prints to stdout and stderr."""
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
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """Return a page without its blocks and without code in its lines."""
    return re.sub(r"`[^`\n]*`", "", without_blocks(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page: its headings in GitHub's form."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[f"{slug}-{found[slug]}" if found.get(slug) else slug] = 0
        found[slug] = found.get(slug, 0) + 1
    return set(found)


def broken_links(page: str, text: str) -> list[str]:
    """Return the links of a page to files or headings that do not exist."""
    return [link for link in LINK.findall(prose(text)) if not (link.startswith("https://") or leads(page, text, link))]


def leads(page: str, text: str, link: str) -> bool:
    """Whether the target of a link exists."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8") if path else text)


def missing_files(text: str) -> list[str]:
    """Return paths in code spans that match no file of the repository; NAME in a path matches any name."""
    named = re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|md|ya?ml|txt|csv|toml))`", without_blocks(text))
    roots = ROOT, ROOT / "archcalc", ROOT / "specs"
    return [path for path in named if "NAME" not in path and not any((root / path).is_file() for root in roots)]
