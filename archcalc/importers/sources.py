"""Sources of imported networks: what they look like, read without running or importing anything.

    torch:MODULE:OBJECT[(ARGUMENTS)][@INPUT]    a class, function or module of Python; the only source that runs code
    torch:FILE.pt2[@INPUT]                      a program that torch.export wrote
    FILE.onnx                                   an ONNX file

MODULE is a name as in `import`, or the path of a `.py` file. ARGUMENTS are literals. INPUT is a shape, or several as
`image=3x224x224,ids=int64:128`.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, Refusal, shorten
from archcalc.ops.shape import AXES
from archcalc.spec.binding import GivenInput
from archcalc.spec.input_text import read_inputs

TORCH, ONNX = "torch:", ".onnx"
MAX_LENGTH = 10_000  # characters of a source
NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FORM = rf"(?s)([^:]+?)(?::({NAME})(\(.*\))?)?(?:@([^()@/]+))?"  # compiled when a source is read
FORMS = "write torch:MODULE:NAME or torch:FILE.py:NAME, e.g. torch:torchvision.models:resnet50"
LITERALS = "arguments are literals: numbers, texts, True, None, and lists, tuples and dicts of them"


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


class TorchSource(NamedTuple):
    """A module of PyTorch: where its code is, and how to make it."""

    text: str
    module: str  # a name, or the path of a .py or .pt2 file
    object: str = ""
    call: str = ""  # the arguments as they are written, with their parentheses
    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}
    input: GivenInput | None = None

    @property
    def title(self) -> str:
        """The network's name in tables."""
        return f"{self.object}{self.call}" if self.object else _stem(self.module)

    @property
    def place(self) -> str:
        """What tells it from networks of the same name."""
        return self.text.removeprefix(TORCH).replace(f":{self.title}", " ").strip()

    def inputs(self, given: GivenInput | None) -> GivenInput | None:
        """Return the given input, or its own; one or two lengths keep the channels of its own image."""
        if type(given) is tuple and len(given) < 3 and type(self.input) is tuple and len(self.input) == 3:
            return (self.input[0], *(given if len(given) == 2 else given * 2))
        return self.input if given is None else given


class OnnxSource(NamedTuple):
    """An ONNX file."""

    text: str

    @property
    def title(self) -> str:
        """The network's name in tables."""
        return _stem(self.text)

    @property
    def place(self) -> str:
        """What tells it from networks of the same name."""
        return self.text


def source_of(name: str) -> TorchSource | OnnxSource | None:
    """Return the source that a name describes, None for a name of the catalog and for a file of text.

    Raises ArchcalcError for a `torch:` source that is written wrongly.
    """
    if name.startswith(TORCH):
        return _torch_source(name)
    return OnnxSource(name) if name.lower().endswith(ONNX) else None


def _torch_source(text: str) -> TorchSource:
    parts = re.fullmatch(_FORM, text.removeprefix(TORCH)) if len(text) <= MAX_LENGTH else None
    if not parts:
        raise ArchcalcError(f"cannot read the source {shorten(text)}; {FORMS}")
    module, name, call, shape = (part or "" for part in parts.groups())
    suffix = os.path.splitext(module)[1].lower()
    if suffix in (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"):
        why = "it is a pickle, which runs any code when it is read, and often has weights only"
        raise ArchcalcError(f"{shorten(text)}: archcalc does not read {suffix} files: {why}; {FORMS}")
    if bool(name) == (suffix == ".pt2"):
        problem = "a .pt2 file has one network; omit the name" if name else f"what is the network called? {FORMS}"
        raise ArchcalcError(f"{shorten(text)}: {problem}")
    args, keywords = _arguments(call) if call else ((), {})
    return TorchSource(text, module, name, call, args, keywords, _own_input(text, shape) if shape else None)


def _arguments(call: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call, which are literals: nothing is run."""
    try:
        tree = ast.parse(f"f{call}", mode="eval").body
    except SyntaxError:
        raise ArchcalcError(f"cannot read the arguments {shorten(call)}; {LITERALS}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ArchcalcError(f"cannot read the arguments {shorten(call)}: they are nested too deeply") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise ArchcalcError(f"{shorten(call)} is not one call; {FORMS}")
    keywords = {own.arg: _literal(own.value) for own in tree.keywords if own.arg}
    if len(keywords) < len(tree.keywords):
        raise ArchcalcError(f"{shorten(call)}: write each argument once, and none with **")
    return tuple(map(_literal, tree.args)), keywords


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ArchcalcError(f"{shorten(ast.unparse(node))} is not a literal; {LITERALS}") from None


def _own_input(source: str, text: str) -> GivenInput | None:
    """Read the input at the end of a source: one shape, perhaps by axis, or shapes by name."""
    parts = text.split(",")
    by_axis = all(part.partition("=")[0] in AXES for part in parts)
    try:
        return read_inputs([text] if by_axis else parts)
    except (Refusal, ArchcalcError) as error:
        raise ArchcalcError(f"{shorten(source)}: {error}") from None
