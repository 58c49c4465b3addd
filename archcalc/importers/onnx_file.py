"""Read an ONNX file as plain data: the only file that imports onnx. It runs no code, and reads no other file.

Shapes come from onnx's own inference, at a batch of 1 and, where the batch can be set, of 2. Before it the bytes of
weights are dropped; what remains are small tensors, such as the sizes that Reshape reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from re import findall
from typing import Any, TypeAlias

from archcalc.errors import ArchcalcError, shorten
from archcalc.graph.graph import Graph
from archcalc.importers.onnx_nodes.file import Call, File, Tensor
from archcalc.importers.onnx_nodes.graph import graph_of
from archcalc.ops.arguments import format_shape
from archcalc.ops.base import Sizes

MAX_BYTES = 2**31 - 1  # of a protobuf
MAX_NODES, MAX_FUNCTIONS, MAX_ROUNDS = 100_000, 900, 100
SMALL, SMALL_INTEGERS = 64, 4096  # values of tensors that are kept
FLOATS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
DTYPES = FLOATS | {2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 14: "complex64", 15: "complex128"}
DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
SCOPES = "pkg.torch.onnx.name_scopes"
Given: TypeAlias = Sequence[int] | Mapping[str, Sequence[int]] | None
Axes: TypeAlias = Mapping[str, list[int | str]]  # of each input its sizes, or the names of those that are dynamic


def from_onnx(path: str | Path, input: Given = None) -> Graph:
    """Return the network of an ONNX file. `input` gives sizes without the batch: of the only input, or by name.

    Raises ArchcalcError, with the path, for a file that is no ONNX network, or whose shapes are unknown.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ArchcalcError(f"{path}: an ONNX file needs the package onnx: pip install 'archcalc[onnx]'") from None
    try:
        return graph_of(_file(onnx, Path(path), input), Path(path).stem)
    except (ArchcalcError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArchcalcError(f"{path}: {reason}") from None


def _file(onnx: Any, path: Path, input: Given) -> File:
    """Return the file at batches of 1 and 2; if its batch cannot be set, at 1, for which the file may have one."""
    model = _model(onnx, path)
    graph = model.graph
    tensors = {tensor.name: _stripped(onnx, tensor) for tensor in _tensors(graph)}
    axes = {one.name: _axes(one) for one in graph.input if one.name not in tensors}
    batch, sizes = _batch(axes), _sizes(axes, input)
    calls = [_call(onnx, node, tensors) for node in graph.node]
    versions = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    made_by, opset = f"{model.producer_name} {model.producer_version}".strip(), str(versions.get("ai.onnx", "unknown"))
    types = {one.name: DTYPES.get(one.type.tensor_type.elem_type, "") for one in graph.input}
    own = File(made_by, opset, calls, [*axes], [one.name for one in graph.output], tensors, types, (), batch)
    own.require_order()
    error: object = ""
    if any(axes.values()):
        try:
            return _at(onnx, model, own, sizes, (1, 2))
        except ArchcalcError as found:
            error = found
    if batch not in (None, 1):
        raise ArchcalcError(f"its batch is {batch}, and cannot be 1 or 2 ({error}); export it with a batch of 1")
    return _at(onnx, model, own, sizes, (1,))


def _model(onnx: Any, path: Path) -> Any:
    """Parse the file, and write its functions out. Raises ArchcalcError for what is no network, or is too large."""
    if path.stat().st_size > MAX_BYTES:
        raise ArchcalcError("is larger than 2 GB, the most that ONNX allows; save its weights as external data")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, a library that onnx has
        if type(error).__name__ != "DecodeError":
            raise
        raise ArchcalcError("is no ONNX file, or only a part of one") from None
    if not model.graph.node and not model.graph.output:
        raise ArchcalcError("has no network: it is empty, or no ONNX file")
    sizes = {(one.domain, one.name): one for one in model.functions}
    if _count(model.graph.node, sizes, {}) > MAX_NODES:
        raise ArchcalcError(f"has more than {MAX_NODES:,} nodes")
    if model.functions:
        from onnx import inliner

        for tensor in _tensors(model.graph):
            _stripped(onnx, tensor)
        model = inliner.inline_local_functions(model)
    return model


def _count(nodes: Iterable[Any], functions: Mapping[Any, Any], known: dict[Any, int]) -> int:
    """Return the number of nodes, those of functions written out."""
    if len(functions) > MAX_FUNCTIONS:
        raise ArchcalcError(f"has more than {MAX_FUNCTIONS} functions")
    total = 0
    for node in nodes:
        key, total = (node.domain, node.op_type), total + 1
        if key in functions and key not in known:
            known[key] = MAX_NODES + 1  # what calls itself has no end
            known[key] = _count(functions[key].node, functions, known)
        total += known.get(key, 0)
        for graph in _graphs(node):
            total += _count(graph.node, functions, known)
    return total


def _graphs(node: Any) -> Iterator[Any]:
    """Yield the graphs within a node, such as the branches of If."""
    for attribute in node.attribute:
        yield from [attribute.g] * attribute.HasField("g")
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all tensors that a graph stores, each with a name."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.name = node.output[0] if node.op_type == "Constant" and node.output else attribute.t.name
                yield from [attribute.t] * (node.op_type == "Constant")
        for inner in _graphs(node):
            yield from _tensors(inner)


def _stripped(onnx: Any, tensor: Any) -> Tensor:
    """Return a tensor with its values, if it is small; else drop its bytes."""
    sizes, dtype = tuple(tensor.dims), DTYPES.get(tensor.data_type, "")
    small = prod(sizes) <= (SMALL_INTEGERS if dtype.startswith("int") else SMALL)
    if small and tensor.data_location != tensor.EXTERNAL:
        with suppress(ValueError, TypeError):  # fewer bytes than its sizes say
            return Tensor(sizes, dtype, tuple(onnx.numpy_helper.to_array(tensor).ravel().tolist()))
    for field in DATA:
        tensor.ClearField(field)
    return Tensor(sizes, dtype)


def _axes(value: Any) -> list[int | str]:
    if not value.type.HasField("tensor_type"):
        raise ArchcalcError(f"its input {shorten(value.name)} is no tensor")
    shape = value.type.tensor_type.shape
    return [one.dim_value if one.dim_value > 0 else one.dim_param or "?" for one in shape.dim]


def _batch(axes: Axes) -> int | None:
    """Return the batch of the file, the first axis of its inputs; None if it is dynamic."""
    fixed = {one[0] for one in axes.values() if one and isinstance(one[0], int)}
    if len(fixed) > 1:
        shown = ", ".join(f"{shorten(name)} {format_shape(one)}" for name, one in axes.items())
        raise ArchcalcError(f"its inputs differ in their first axis, the batch: {shown}")
    return fixed.pop() if fixed else None


def _sizes(axes: Axes, given: Given) -> dict[str, Sizes]:
    """Return the sizes of inputs without the batch: those given, else the file's. Raises ArchcalcError if one lacks."""
    if given is not None and not isinstance(given, Mapping):
        if len(axes) != 1:
            raise ArchcalcError(f"has {len(axes)} inputs; give sizes by name: {', '.join(axes)}")
        given = dict.fromkeys(axes, given)
    by_name = given or {}
    if unknown := by_name.keys() - axes.keys():
        raise ArchcalcError(f"has no input {shorten(str(min(unknown)))!r}; its inputs are {', '.join(axes)}")
    return {name: _of_input(shorten(name), own[1:], by_name.get(name, own[1:])) for name, own in axes.items()}


def _of_input(name: str, own: Sequence[int | str], sizes: Sequence[int | str]) -> Sizes:
    """Return the sizes of an input, all of which have to be numbers. `own` are those of the file."""
    dynamic = [f"{axis!r}" for axis in sizes if not isinstance(axis, int)]
    if dynamic:
        usual = format_shape([axis if isinstance(axis, int) else 224 for axis in sizes])
        raise ArchcalcError(
            f"axis {' and axis '.join(dynamic)} of input {name} has no fixed size; "
            f"write all sizes without the batch, such as --input {name}={usual}"
        )
    if len(sizes) != len(own):
        raise ArchcalcError(
            f"input {name} has the axes {format_shape(own)} beside the batch, not {format_shape(sizes)}"
        )
    return tuple([size for size in sizes if isinstance(size, int)])


def _call(onnx: Any, node: Any, tensors: Mapping[str, Tensor]) -> Call:
    """Return a node as plain data; what graphs within it read are inputs, too."""
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    given = {one.name: _plain(onnx, one) for one in node.attribute}
    inner = tuple(sorted({name for graph in _graphs(node) for name in _read(graph)}))
    scopes = [findall(r"'([^']*)'", entry.value)[:-1] for entry in node.metadata_props if entry.key == SCOPES]
    scope = scopes[0][-1] if scopes and scopes[0] else ""
    return Call(domain + node.op_type, node.name, (*node.input, *inner), tuple(node.output), given, scope)


def _read(graph: Any) -> set[str]:
    """Return what a graph within a node reads from around it."""
    own = {one.name for one in (*graph.input, *graph.initializer)} | {name for one in graph.node for name in one.output}
    read = {name for one in graph.node for name in one.input} | {one.name for one in graph.output}
    return read.union(*[_read(inner) for one in graph.node for inner in _graphs(one)]) - own


def _plain(onnx: Any, attribute: Any) -> Any:
    if attribute.type == attribute.TENSOR:
        return _stripped(onnx, attribute.t).values
    if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
        return None
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, int | float) else tuple(value) if hasattr(value, "__len__") else None


def _at(onnx: Any, model: Any, file: File, inputs: Mapping[str, Sizes], batches: Sequence[int]) -> File:
    """Return the file with the sizes of all values at these batches. Raises ArchcalcError if some are unknown."""
    every, types = [], dict(file.dtypes)
    for batch in batches:
        given = {name: (batch, *sizes) for name, sizes in inputs.items()}
        every.append(_inferred(onnx, model, file, given, types))
    found = file._replace(sizes=every, dtypes=types)
    found.require_sizes()
    return found


def _inferred(
    onnx: Any, model: Any, file: File, inputs: Mapping[str, Sizes], types: dict[str, str]
) -> dict[str, Sizes]:
    """Return the sizes of all values that inference knows, and put their dtypes into `types`."""
    from archcalc.importers.onnx_nodes.constants import folded  # it imports NumPy, as onnx does

    model = _with_inputs(model, inputs)
    sizes: dict[str, Sizes] = {}
    done: set[str] = set()
    for _ in range(MAX_ROUNDS):
        try:
            found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        except onnx.shape_inference.InferenceError as error:
            raise ArchcalcError(f"its shapes do not fit: {shorten(str(error).splitlines()[0], 200)}") from None
        for value in (*found.input, *found.value_info, *found.output):
            shape = value.type.tensor_type.shape
            if value.type.tensor_type.HasField("shape") and all(one.HasField("dim_value") for one in shape.dim):
                sizes[value.name] = tuple([one.dim_value for one in shape.dim])
                types[value.name] = DTYPES.get(value.type.tensor_type.elem_type, "")
        if all(name in sizes for call in file.calls for name in call.outputs if name):
            break
        new = {k: v for k, v in folded(file.calls, file.tensors, sizes).items() if k not in done}
        if not new:
            break
        done |= new.keys()
        kept = [node for node in model.graph.node if node.output[:1] and node.output[0] not in new]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        for name, numbers in new.items():
            whole = [int(one) for one in numbers.ravel()]
            data = (
                {"data_type": 9, "int32_data": whole}
                if numbers.dtype == bool
                else {"data_type": 7, "int64_data": whole}
            )
            model.graph.initializer.add(name=name, dims=numbers.shape, **data)
    types.update({name: one.dtype for name, one in file.tensors.items()})
    return sizes | {name: one.sizes for name, one in file.tensors.items()}


def _with_inputs(model: Any, inputs: Mapping[str, Sizes]) -> Any:
    """Return a copy with these sizes of inputs; if they differ from the file's, without its sizes of other values."""
    copy = type(model)()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        shape, sizes = value.type.tensor_type.shape, inputs.get(value.name, ())
        if shape.dim and sizes and [one.dim_value for one in shape.dim] != [*sizes]:
            del copy.graph.value_info[:]
            for output in copy.graph.output:
                output.type.tensor_type.ClearField("shape")
        for one, size in zip(shape.dim, sizes, strict=False):
            one.dim_value = size
    return copy
