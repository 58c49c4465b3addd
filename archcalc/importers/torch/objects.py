"""Make the module that a `torch:` source names, and import it: the only place that runs code of a user."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from torch import nn

from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.graph.graph import Graph
from archcalc.importers.sources import NAME, TorchSource
from archcalc.importers.torch.inputs import arguments
from archcalc.importers.torch.modules import from_torch
from archcalc.importers.torch.on_meta import made_on_meta
from archcalc.spec.binding import GivenInput
from archcalc.spec.input_text import TypedSizes

NOT_THE_USERS = re.compile(
    r"<frozen |.*[\\/](torch|archcalc|importlib)[\\/]"
)  # files of frames that an error leaves out
MAX_TEXT = 300  # characters of an error


def graph_of(source: TorchSource, given: GivenInput | None, run: bool) -> Graph:
    """Import the module of a source; with `run` on real tensors. Raises ArchcalcError for whatever goes wrong."""
    with users_code(source.text):
        module = module_of(source, run)
        sizes, note = inputs_of(module, source.inputs(given))
        graph = from_torch(module, sizes, run=run, name=source.title)
        if not graph.results:
            raise ArchcalcError(f"forward of {type(module).__name__} returns no tensor")
    return replace(graph, about=graph.about._replace(notes=(*graph.about.notes, note))) if note else graph


def runnable(source: TorchSource, given: GivenInput | None, run: bool, batch: int) -> tuple[nn.Module, tuple[Any, Any]]:
    """Return the module of a source, and its arguments for a batch on meta; with `run` both in memory.

    Raises ArchcalcError like `graph_of`.
    """
    with users_code(source.text):
        module = module_of(source, run)
        return module, arguments(module, inputs_of(module, source.inputs(given))[0], batch, run)


def module_of(source: TorchSource, run: bool = False) -> nn.Module:
    """Return the module of a source, in evaluation; without `run` its weights take no memory if it is made here."""
    if source.module.endswith(".pt2"):
        return _program(_require_file(source.module))
    found: Any = _namespace(source.module)
    for name in source.object.split("."):
        if not hasattr(found, name):
            known = [own for own in dir(found) if callable(getattr(found, own, None)) and not own.startswith("_")]
            raise ArchcalcError(f"{source.module} has no {name!r}; {suggest(name, known) or 'check its name'}")
        found = getattr(found, name)
    if isinstance(found, nn.Module):
        if source.call:
            raise ArchcalcError(f"{source.object} is a module already; omit {shorten(source.call)}")
        return found
    if not callable(found):
        raise ArchcalcError(f"{source.object} is {_kind(found)}, not a module, a class or a function")
    make = partial(found, *source.args, **source.keywords)
    made = make() if run else made_on_meta(make)
    if not isinstance(made, nn.Module):
        raise ArchcalcError(f"{source.title} gives {_kind(made)}, not a torch.nn.Module")
    return made


def _program(path: Path) -> nn.Module:
    """Return the program in a file. Raises ArchcalcError for another file, also a small one that grows when read."""
    if not is_zipfile(path) or sum(own.file_size for own in ZipFile(path).infolist()) > 2 * path.stat().st_size:
        raise ArchcalcError(f"{path} is not a file that torch.export wrote")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of its own code
        return torch.export.unflatten(torch.export.load(path))


def inputs_of(module: nn.Module, given: GivenInput | None) -> tuple[Any, str]:
    """Return the input as `from_torch` takes it, and a note if it is the module's own.

    Raises ArchcalcError, with what to write, if there is none, and for a name that forward does not have.
    """
    takes = inspect.signature(module.forward).parameters
    if given is None:
        facts = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
        size = facts.get("input_size") if isinstance(facts, Mapping) else None
        if not size:
            forms = "--input 3x224x224, or NAME@3x224x224; of several --input image=3x224x224 --input ids=int64:128"
            raise ArchcalcError(f"which sizes does its input have? forward takes {', '.join(takes)}; write {forms}")
        return tuple(size), f"input {'×'.join(map(str, size))}: from the module's own default_cfg"
    if not isinstance(given, Mapping):
        return _plain(given), ""
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        for name in given:
            if name not in takes:
                raise ArchcalcError(f"forward has no argument {name!r}; {suggest(name, takes) or 'check its name'}")
    return {name: _plain(sizes) for name, sizes in given.items()}, ""


def _plain(sizes: Any) -> Any:
    return (sizes.dtype, tuple(sizes)) if isinstance(sizes, TypedSizes) else tuple(map(int, sizes))


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _namespace(module: str) -> ModuleType:
    """Import a module by name, or a file by path; files beside it, or in the working folder, can be imported too."""
    if re.fullmatch(NAME, module) and not module.endswith(".py"):
        _findable(os.getcwd(), at=len(sys.path))
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and f"{module}.".startswith(f"{error.name}."):
                raise ArchcalcError(
                    f"no module {error.name!r}; install it, or write a file as torch:./FILE.py:NAME"
                ) from None
            raise
    path = _require_file(module)
    name = re.sub(r"\W", "_", f"{os.path.realpath(path)} {path.stat().st_mtime_ns}")  # a changed file is run again
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArchcalcError(f"{module} is not a .py file")
    _findable(os.path.dirname(os.path.realpath(path)), at=0)
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


def _require_file(path: str) -> Path:
    if os.path.isdir(path):
        raise ArchcalcError(f"{path} is a folder; write the name of a module, or a file in it")
    if not os.path.isfile(path):
        raise ArchcalcError(f"there is no file {path}")
    return Path(path)


def _findable(folder: str, at: int) -> None:
    if folder not in sys.path:
        sys.path.insert(at, folder)


@contextmanager
def users_code(source: str) -> Iterator[None]:
    """Run code of a user: it prints to stderr, and its warnings are no errors.

    Raises ArchcalcError for anything that it raises, with the source and the last line of the user's that ran.
    """
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings(), torch.random.fork_rng(devices=()):
            warnings.simplefilter("default")
            torch.default_generator.manual_seed(0)  # the same weights, and so the same figures, each time
            yield
    except ArchcalcError as error:
        raise ArchcalcError(f"{shorten(source, 100)}: {error}{_line(error.__cause__)}") from error.__cause__
    except SystemExit as stop:
        raise ArchcalcError(
            f"{shorten(source, 100)}: its code ended Python with exit({stop.code!r}){_line(stop)}"
        ) from stop
    except Exception as error:
        if not _line(error) and isinstance(error, AssertionError | LookupError | AttributeError):
            raise  # no code of the user ran: a bug in archcalc
        text = next(filter(None, map(str.strip, str(error).splitlines())), "")
        words = ": ".join(filter(None, (type(error).__name__, shorten(text, MAX_TEXT))))
        raise ArchcalcError(f"{shorten(source, 100)}: {words}{_line(error)}") from error


def _line(error: BaseException | None) -> str:
    """Return the last line of the user's code that ran before an error, "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    for frame in reversed(frames):
        if not NOT_THE_USERS.match(frame.filename):
            path = os.path.relpath(frame.filename)
            shown = frame.filename if path.startswith("..") else path
            return f"\n  at {shown}:{frame.lineno}, in {frame.name}: {shorten(frame.line or '', 100)}"
    return ""
