"""Run a module and record each function of PyTorch that it calls.

Under `torch.inference_mode()` PyTorch does not take composite functions apart: one sees `conv2d`, `linear`, …. Weights
and inputs are on meta, so that nothing is computed and no memory is taken; other tensors, such as small tables that the
code looks at, stay where they are until they meet one on meta.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from archcalc.errors import ArchcalcError
from archcalc.importers import aten
from archcalc.importers.torch.attention import run_function
from archcalc.importers.torch.mapping import rule_for
from archcalc.importers.torch.tape import Call, Ref, Tape, Value

CHECKPOINT = "_checkpoint_without_reentrant_generator"
CHECKPOINT += "_impl" * hasattr(torch.utils.checkpoint, f"{CHECKPOINT}_impl")  # since PyTorch 2.14


class Recorder(TorchDispatchMode):  # type: ignore[misc]  # torch has no types for it
    """Write a tape of the calls of functions while a module runs, and know which module is running."""

    def __init__(self, module: nn.Module, real: bool) -> None:
        super().__init__()
        self.tape, self.real = Tape(), real
        self.paths = {id(each): path for path, each in module.named_modules()}
        self.stack: list[tuple[str, int, bool]] = []
        self.turns = self.inside = 0  # how many functions run of which autograd sees only the result
        self.index: Any = WeakIdKeyDictionary()  # of a tensor's latest value
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.written: dict[int, int] = {}  # by storage, the latest value that was made there in place
        self.named: dict[int, tuple[str, str]] = {}
        for name, buffer in module.named_buffers(remove_duplicate=False):
            self.named.setdefault(id(buffer), ("buffer", name))
        for name, weight in module.named_parameters(remove_duplicate=False):
            self.named.setdefault(id(weight), ("parameter", name))
        self.moved: Any = WeakIdKeyDictionary()  # weights and other tensors, on meta

    @property
    def place(self) -> str:
        """The path of the module that runs."""
        return self.stack[-1][0] if self.stack else ""

    def enter(self, module: nn.Module, args: Any) -> None:
        """Note that a module begins to run."""
        path = self.paths.get(id(module))
        if path is None:
            path = self.paths[id(module)] = ".".join(filter(None, (self.place, type(module).__name__.lower())))
            self.tape.hidden[path] = None
        self.stack.append((path, self.turns, next(module.children(), None) is None))
        self.turns += 1
        dropped = drops_branches(module)
        if dropped and args and isinstance(args[0], Tensor):
            made = self.note("drop_path", (self.ref(args[0]),), {"p": dropped})
            self.index[args[0]] = made

    def leave(self, module: nn.Module, args: Any, result: Any) -> None:
        """Note that it has run."""
        self.stack.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if not (rule_for(name) or name in aten.RULES):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        moved, moved_named = self.on_meta((args, kwargs))
        given, named = tree_map_only(Tensor, self.ref, (args, kwargs))
        result = run_function(func, moved, moved_named)
        if "dropout" in name and result is moved[0] and not func._schema.is_mutable:
            result = result.view_as(result)  # in training it is another tensor
        made: list[int] = []
        tree_map_only(Tensor, lambda tensor: made.append(self.make(tensor)), result)
        if not made:
            return result
        self.write(func, name, tuple(given), named, *made)
        if self.tape.calls[-1].overwrites:
            for at in made:
                self.written[self.tape.values[at].storage] = at
        return result

    def on_meta(self, given: Any) -> Any:
        """Return arguments with all tensors on meta, if one is or if one is a weight."""
        tensors: list[Tensor] = []
        tree_map_only(Tensor, tensors.append, given)
        if self.real or not any(t.is_meta or isinstance(t, nn.Parameter) for t in tensors):
            return given
        return tree_map_only(Tensor, self.meta, given)

    def meta(self, tensor: Tensor) -> Tensor:
        """Return a tensor's twin on meta."""
        if tensor.is_meta:
            return tensor
        if tensor not in self.moved:
            with torch.inference_mode(False), torch.no_grad():  # views of it are views of a usual tensor
                self.moved[tensor] = torch.empty_like(tensor, device="meta")
        return self.moved[tensor]

    def ref(self, tensor: Tensor) -> Ref:
        """Return the value of an argument; a weight or a constant gets one when it is first read."""
        at = self.index.get(tensor)
        if at is None:
            at = self.index[tensor] = self.found(tensor)
        latest = self.written.get(self.tape.values[at].storage, at)
        if latest > at:
            at = self.update(tensor, at, latest)
        return Ref(at)

    def found(self, tensor: Tensor) -> int:
        """Return a value for a tensor that no call made: in known memory, as a subclass is, another view of that."""
        unnamed = "parameter" if isinstance(tensor, nn.Parameter) else "tensor"
        source, name = self.named.get(id(tensor), (unnamed, ""))
        tensor = self.moved.get(tensor, tensor)
        memory, first = self.storages.get(_memory(tensor)._cdata, (None, 0))
        if source != "tensor" or memory is None or memory.expired():
            return self.make(tensor, source, name)
        made = self.make(tensor)
        self.write(None, "alias", (Ref(self.written.get(first, first)),), {}, made)
        return made

    def write(self, function: Any, name: str, args: tuple[Any, ...], named: Mapping[str, Any], *made: int) -> None:
        """Add a call in the module that runs."""
        tracked = (torch.is_grad_enabled() or self.inside > 0) and name != "detach"
        path, turn, leaf = self.stack[-1] if self.stack else ("", 0, False)
        self.tape.calls.append(Call(function, name, args, named, made, path, turn, leaf, tracked))

    def update(self, tensor: Tensor, at: int, latest: int) -> int:
        """Return a new value for a tensor of which a part, a view, was overwritten."""
        self.index[tensor] = made = self.note("overwritten", (Ref(at), Ref(latest)), {})
        return made

    def note(self, name: str, reads: tuple[Ref, ...], named: Mapping[str, Any]) -> int:
        """Add what is no call of a function; return the value that it makes of the first one."""
        self.tape.values.append(self.tape.values[reads[0].index]._replace(source="", name=""))
        made = len(self.tape.values) - 1
        self.write(None, name, reads, named, made)
        return made

    def make(self, tensor: Tensor, source: str = "", name: str = "") -> int:
        """Add a value; return its index."""
        storage = _memory(tensor)
        known = self.storages.get(storage._cdata)
        if known is None or known[0].expired():
            known = self.storages[storage._cdata] = StorageWeakRef(storage), len(self.tape.values)
        dtype = str(tensor.dtype).removeprefix("torch.")
        stored = storage.nbytes() // tensor.element_size()
        value = Value(tuple(tensor.shape), tuple(tensor.stride()), dtype, known[1], stored, source, name)
        self.tape.values.append(value)
        self.index[tensor] = at = len(self.tape.values) - 1
        return at


def drops_branches(module: nn.Module) -> float:
    """Return the probability with which a module drops its input in training, image by image, and scales what is left.

    These are torchvision's StochasticDepth and timm's DropPath, which call nothing in evaluation.
    """
    kind = type(module).__name__
    if kind == "StochasticDepth" and getattr(module, "mode", "") == "row":
        return float(module.p)
    drops = kind == "DropPath" and getattr(module, "scale_by_keep", False)
    return float(module.drop_prob or 0) if drops else 0


def _noting(recorder: Recorder, function: Any, name: str = "") -> Any:
    """Return a function that notes its name, or its first argument's, and the module that runs.

    What it calls is recorded as if autograd recorded each call.
    """

    def noted(*args: Any, **named: Any) -> Any:
        what = name or getattr(args[0], "__name__", type(args[0]).__name__)
        recorder.tape.unseen.setdefault(what, recorder.place or "the module")
        recorder.inside += 1
        try:
            return function(*args, **named)
        finally:
            recorder.inside -= 1

    return noted


def _once(*args: Any, **named: Any) -> Iterator[None]:
    yield


@contextmanager
def _watched(recorder: Recorder) -> Iterator[None]:
    """Tell the recorder which module runs."""
    handles = register_module_forward_pre_hook(recorder.enter), register_module_forward_hook(recorder.leave)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it would hide the layers of attention
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using `torch.compile")  # that its modules have hooks, too
            warnings.filterwarnings("ignore", "None of the inputs have requires_grad")  # of a checkpoint
            own = torch.autograd.Function.__dict__["apply"]
            apply: Any = classmethod(_noting(recorder, getattr(own, "__func__", own)))  # since PyTorch 2.14 it is C's
            enter = _noting(recorder, lambda itself: itself)
            steps = _noting(recorder, _once, "checkpoint")
            with (
                patch.object(torch.autograd.Function, "apply", apply),
                patch.multiple(torch.autocast, __enter__=enter, __exit__=lambda *_: None),
                patch.object(torch.utils.checkpoint, CHECKPOINT, steps),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


def record(
    module: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], inputs: Mapping[str, Any], real: bool
) -> Tape:
    """Run a module on tensors and return the tape. Raises ArchcalcError, with the module's path, where it fails."""
    recorder = Recorder(module, real)
    tape = recorder.tape
    with _watched(recorder), torch.inference_mode(), torch.set_grad_enabled(True):
        for name, tensor in tensors_in(inputs):
            tape.inputs[name] = recorder.make(tensor)
        try:
            with recorder:
                result = module(*args, **named)
        except Exception as error:
            raise _failed(error, module, recorder) from error
        for name, tensor in tensors_in(result):
            tape.results[name] = recorder.ref(tensor).index
    return tape


def _failed(error: Exception, module: nn.Module, recorder: Recorder) -> ArchcalcError:
    """Return what went wrong, in PyTorch's own words, and in which module."""
    path = recorder.place
    inner = dict(module.named_modules()).get(path, module)
    where = f"{path} ({type(inner).__name__})" if path else type(module).__name__
    looks = any(word in str(error) for word in ("meta", "Meta", "data-dependent", "DataDependent"))
    if recorder.real or not looks:
        return ArchcalcError(f"{where}: {words(error)}")
    hint = "it looks at values, which a run without weights lacks: --run, or run=True, runs it on real tensors"
    return ArchcalcError(f"{where}: {words(error).rstrip('.')}; {hint}")


def _memory(tensor: Tensor) -> torch.UntypedStorage:
    """Return the storage of a tensor. Raises RuntimeError for a sparse one."""
    if tensor.layout is not torch.strided:
        raise RuntimeError(f"a tensor is {str(tensor.layout).removeprefix('torch.')}; only dense ones have a rule here")
    return tensor.untyped_storage()


def words(error: BaseException) -> str:
    """Return the first line of an error of PyTorch or of the user, after its type where that says more."""
    text = next(filter(None, map(str.strip, str(error).splitlines())), "")
    says = text and isinstance(error, RuntimeError | ValueError)
    return text if says else ": ".join(filter(None, (type(error).__name__, text)))


def tensors_in(given: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in a value with their names: keys, fields, positions, joined by dots; of a tensor its own."""
    if isinstance(given, Tensor):
        yield name, given
        return
    if is_dataclass(given) and not isinstance(given, type):
        given = {each.name: getattr(given, each.name) for each in fields(given)}
    elif isinstance(given, tuple) and hasattr(given, "_asdict"):
        given = given._asdict()
    elif isinstance(given, list | tuple):
        given = dict(enumerate(given))
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield from tensors_in(value, f"{name}.{key}" if name else str(key))
