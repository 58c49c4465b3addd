"""`from_torch`: a PyTorch module as a Graph."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from archcalc.errors import ArchcalcError, one_line
from archcalc.graph.graph import About, Graph
from archcalc.importers.torch.batches import BATCHES, require_same_calls
from archcalc.importers.torch.graphs import Importer
from archcalc.importers.torch.inputs import arguments, names
from archcalc.importers.torch.recording import drops_branches, record
from archcalc.importers.torch.site import Site
from archcalc.importers.torch.tape import Tape
from archcalc.importers.torch.values import Known
from archcalc.ops.shape import Sizes

SCRIPTED = (
    "{} is a ScriptModule, which does not call its modules one by one; give the module before torch.jit.script or trace"
)
OTHERS = frozenset(("float64", "float16", "bfloat16"))  # dtypes that `analyze` takes besides float32
RAN = "run on real tensors: where its code looks at values, these figures are of the branch that these values chose"


def from_torch(module: nn.Module, input: Any, *, run: bool = False, name: str = "") -> Graph:
    """Return a PyTorch module as a Graph, by recording what it calls in evaluation.

    `input` is the size of one image without the batch, such as (3, 224, 224); a mapping of the names of forward's
    arguments to sizes, or to a dtype and sizes such as ("int64", (128,)); a tuple of these, by position; or tensors
    instead of sizes, with the batch as their first axis. Numbers, texts and None are passed as they are.

    Nothing is computed, weights take no memory, and the module is not changed. With `run`, for code that looks at
    values, the module runs on real tensors on the CPU, on one random image that is repeated.

    Raises ArchcalcError if the module cannot run, with PyTorch's words and the path of the module inside; if it is
    scripted or lazy; or if its figures are no sum of one per image and one per batch.
    """
    _require_module(module)
    with _as_before(module), _eager():
        tapes = _tapes(module, input, run)
        idle = _idle(module, tapes[0])
        trained = _trained(module, input, run, tapes[0], idle) if idle else None
        importer = Importer(trained or tapes, idle if trained else frozenset())
        importer.run()
        notes = [*_unused(module, importer), *_hidden(tapes[0]), *_unseen(tapes[0])]
        dtype = importer.values.network_dtype if importer.values.network_dtype in OTHERS else "float32"
        notes += [*_otherwise(module, input, run, (trained or tapes)[0]), *[RAN] * run]
        notes += [f"its weights are {dtype}: --dtype {dtype} gives their bytes"] * (dtype in OTHERS)
    return importer.graph(name or type(module).__name__, About(notes=tuple(map(one_line, notes)), dtype=dtype))


def _tapes(module: nn.Module, input: Any, run: bool, aside: bool = False) -> list[Tape]:
    """Record a module on several batches. Raises ArchcalcError.

    With `aside` modules are in training, so that they run what only training has, but PyTorch's own layers are not, so
    that these do what they do in evaluation.
    """
    tapes = [_tape(module, input, run, BATCHES[0], aside)]
    with _silent():
        tapes += [_tape(module, input, run, batch, aside) for batch in BATCHES[1:]]
    if len(tapes[0].calls) != len(tapes[1].calls):  # the first run may have computed what later ones only read
        with _silent():
            tapes[0] = _tape(module, input, run, BATCHES[0], aside)
    require_same_calls(tapes)
    if not tapes[0].calls:
        raise ArchcalcError(f"{type(module).__name__} calls no function of PyTorch, so there is nothing to count")
    return tapes


def _tape(module: nn.Module, input: Any, run: bool, batch: int, aside: bool = False) -> Tape:
    module.train()  # lets modules forget what they computed in an earlier evaluation
    module.eval()
    for each in module.modules() if aside else ():
        own = not type(each).__module__.startswith("torch.nn.") or each._forward_pre_hooks  # of spectral_norm
        each.training = not drops_branches(each) and bool(own or next(each.children(), None))
    args, named = arguments(module, input, batch, run)
    given = dict(zip(names(module, len(args) + len(named)), args, strict=False)) | named
    return record(module, args, named, given, run)


def _idle(module: nn.Module, tape: Tape) -> frozenset[str]:
    """Return the paths of modules with weights of which no call is recorded, nor of a module inside."""
    ran = {""}
    for path in {call.module for call in tape.calls}:
        parts = path.split(".")
        ran.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
    weighted = [path for path, each in module.named_modules() if path not in ran]
    return frozenset(weighted)


def _trained(module: nn.Module, input: Any, run: bool, evaluated: Tape, idle: Set[str]) -> list[Tape] | None:
    """Record auxiliary outputs, which run only in training, too; None if training differs in other calls."""
    try:
        with _silent():
            tapes = _tapes(module, input, run, aside=True)
    except ArchcalcError:
        return None
    common = [(call.name, call.module) for call in tapes[0].calls if call.module not in idle]
    same = common == [(call.name, call.module) for call in evaluated.calls]
    return tapes if same and len(common) < len(tapes[0].calls) else None


def _unseen(tape: Tape) -> Iterator[str]:
    if tape.unseen:
        found = ", ".join(f"{what} ({where})" for what, where in tape.unseen.items())
        yield f"kept for backward as if without {found}: a recorded run does not show what that changes"


def _otherwise(module: nn.Module, input: Any, run: bool, evaluated: Tape) -> Iterator[str]:
    """Yield notes if training does not call the functions that evaluation calls: the graph has those."""
    try:
        with _silent():
            tape = _tape(module, input, run, BATCHES[0], aside=True)
    except ArchcalcError as error:
        yield f"figures of training are of the calls of evaluation; a run in training fails: {error}"
        return
    known = Known([tape])
    attention = [Site(call, known) for call in tape.calls if call.name == "scaled_dot_product_attention"]
    dropping = [site.call.module for site in attention if site.arg("dropout_p")]
    if dropping:
        where = dropping[0] or "the module"
        yield f"dropout inside attention ({where}) is not counted, nor what it keeps in training"
    other = _other(tape, evaluated)
    if other:  # what an earlier run computed may be read now
        with _silent():
            other = _other(tape, _tape(module, input, run, BATCHES[0])) and other
    if other:
        name, path = other
        where = path or "the module"
        yield f"figures of training are of the calls of evaluation; in training {where} differs, from {name} on"


def _other(one: Tape, two: Tape) -> tuple[str, str] | None:
    """Return the first call that only one of two tapes has, and its module."""
    pairs = zip_longest(_calls_of(one), _calls_of(two))
    return next(((own or other)[:2] for own, other in pairs if own != other), None)


def _calls_of(tape: Tape) -> list[tuple[str, str, Sizes]]:
    """Return the calls: function, module and the sizes of the first result; none that only changes a buffer."""
    graded = Known([tape]).graded
    found = [call for call in tape.calls if not call.overwrites or any(map(graded, call.made))]
    return [(call.name, call.module, tape.values[call.made[0]].sizes) for call in found]


def _require_module(module: Any) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise ArchcalcError(SCRIPTED.format("the module"))
    if not isinstance(module, nn.Module):
        raise ArchcalcError(f"from_torch needs a torch.nn.Module, not {type(module).__name__}")
    for path, each in module.named_modules():
        if isinstance(each, torch.jit.ScriptModule):
            raise ArchcalcError(SCRIPTED.format(path))
        if any(isinstance(weight, nn.parameter.UninitializedTensorMixin) for weight in each._parameters.values()):
            raise ArchcalcError(
                f"{path or 'the module'} ({type(each).__name__}) has no sizes yet: call the module on an input first"
            )


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what the module prints and warns of when it runs again: it did so in the first run."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_before(module: nn.Module) -> Iterator[None]:
    """Put back what a module's run changes: attributes, what these contain, the values of buffers, training."""
    before = [(each, dict(vars(each))) for each in module.modules()]
    contents = [(own, own.copy()) for _, owns in before for own in owns.values() if isinstance(own, dict | list | set)]
    values = [(buffer, buffer._version, buffer.clone()) for buffer in module.buffers() if not buffer.is_meta]
    try:
        yield
    finally:
        module.train()
        for each, attributes in before:
            vars(each).clear()
            vars(each).update(attributes)
        for own, content in contents:
            own.clear()
            (own.extend if isinstance(own, list) else own.update)(content)
        for buffer, version, value in values:
            if buffer._version != version:
                buffer.data.copy_(value)


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules as they were written."""
    with torch.compiler.set_stance("force_eager"):
        yield


def _unused(module: nn.Module, importer: Importer) -> Iterator[str]:
    """Add a row for the weights of each module that never runs; yield a note that names these modules."""
    read = {value.name for value in importer.tape.values if value.source}
    tensors = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    ran = {id(tensor) for full, tensor in tensors.items() if full in read}
    covered = importer.covered()
    idle: dict[str, dict[str, Any]] = {}
    for full, tensor in tensors.items():
        path, _, own = full.rpartition(".")
        if id(tensor) not in ran and not (path in covered and not isinstance(tensor, nn.Parameter)):
            ran.add(id(tensor))
            idle.setdefault(path, {})[own] = tensor
    for path, unused in idle.items():
        importer.never_run(path, unused)
    weights = [t for unused in idle.values() for t in unused.values() if isinstance(t, nn.Parameter)]
    if weights:
        count = sum([weight.numel() for weight in weights])
        yield f"never run, but in params ({count:,} values): {', '.join(path or 'the module itself' for path in idle)}"


def _hidden(tape: Tape) -> Iterator[str]:
    if tape.hidden:
        hidden = ", ".join(tape.hidden)
        yield f"modules() does not list {hidden} (use nn.ModuleList): their weights count, but are not trained"
