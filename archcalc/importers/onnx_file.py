"""Read an ONNX file as plain data: the only file that imports onnx. It runs no code, and reads no other file.

Shapes come from onnx's own inference, at a batch of 1 and, where the batch can be set, of 2. Before it the bytes of
weights are dropped; what remains are small tensors, such as the sizes that Reshape reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from re import findall, search
from typing import Any, TypeAlias

from archcalc.errors import ArchcalcError, needs, shorten
from archcalc.graph.graph import Graph
from archcalc.importers.onnx_nodes.file import Call, File, Tensor
from archcalc.importers.onnx_nodes.graph import graph_of
from archcalc.ops.arguments import format_shape
from archcalc.ops.base import Sizes
from archcalc.spec.yaml import near_file

MAX_BYTES = 2**31 - 1  # of a protobuf
MAX_NODES, MAX_ROUNDS = 100_000, 100
SMALL, SMALL_INTEGERS = 64, 4096  # values of tensors that are kept
FLOAT, INT64 = 1, 7
DTYPES = {
    FLOAT: "float32", 2: "uint8", 3: "int8", 6: "int32", INT64: "int64", 9: "bool", 10: "float16", 11: "float64",
    16: "bfloat16",
}  # fmt: skip
DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
CONSTANTS = {"value": "t", "value_int": "i", "value_ints": "ints", "value_float": "f", "value_floats": "floats"}
SCOPES = "pkg.torch.onnx.name_scopes"  # what PyTorch's newer exporter says
KIND, FOLDED = "pkg.torch.export.graph_signature.InputSpec.kind", "pkg.onnxscript.optimizer.folded_from"
INLINE = "onnx.save(onnx.inliner.inline_local_functions(onnx.load(a)), b)"
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
        raise ArchcalcError(f"{path}: {needs('an ONNX file', 'the package onnx', 'onnx')}") from None
    try:
        return graph_of(_file(onnx, _model(onnx, Path(path)), input), Path(path).stem)
    except (ArchcalcError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = near_file(str(path)) if isinstance(error, FileNotFoundError) else ""
        raise ArchcalcError(f"{path}: {reason}{'; ' * bool(hint)}{hint}") from None


def _model(onnx: Any, path: Path) -> Any:
    """Parse the file. Raises ArchcalcError for what is no network, or is too large."""
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
    if model.functions:
        raise ArchcalcError(f"has functions of its own ({shorten(model.functions[0].name)}); write them out: {INLINE}")
    if len(model.graph.node) > MAX_NODES:
        raise ArchcalcError(f"has more than {MAX_NODES:,} nodes")
    return model


def _file(onnx: Any, model: Any, input: Given) -> File:
    """Return the file at batches of 1 and 2; if its batch cannot be set, at 1, for which the file may have one."""
    found = None
    while found is None:  # until no branch is taken
        file, axes = _as_data(onnx, model)
        sizes = _sizes(axes, input)
        try:
            found = _sized(onnx, model, file, sizes, (1, 2) if any(axes.values()) else (1,))
        except ArchcalcError as error:
            if file.batch not in (None, 1):
                why = f"its batch is {file.batch}, and cannot be 1 or 2 ({error})"
                raise ArchcalcError(f"{why}; export it with a batch of 1") from None
            found = _sized(onnx, model, file, sizes, (1,))
    return found


def _as_data(onnx: Any, model: Any) -> tuple[File, Axes]:
    """Return the file as plain data, without sizes of values, and the axes of its inputs."""
    graph = model.graph
    texts = [one.name for one in (*graph.input, *graph.output, *graph.initializer, *graph.node)]
    texts += [name for node in graph.node for name in (node.op_type, *node.input, *node.output)]
    if not all(isinstance(text, str) for text in texts):  # protobuf returns bytes for others
        raise ArchcalcError("has names that are no text in UTF-8")
    for node in graph.node:  # the older exporter writes negative axes here, which inference refuses
        for attribute in node.attribute if node.op_type == "Transpose" else ():
            attribute.ints[:] = [axis + len(attribute.ints) * (axis < 0) for axis in attribute.ints]
    kinds = _kinds(graph.value_info) | dict.fromkeys(_lift(onnx, graph), "CONSTANT")
    tensors = {one.name: _stripped(onnx, one)._replace(kind=kinds.get(one.name, "")) for one in _tensors(graph)}
    axes = {one.name: _axes(one) for one in graph.input if one.name not in tensors}
    fixed = {one[0] for one in axes.values() if one and isinstance(one[0], int)}
    if len(fixed) > 1:
        shown = ", ".join(f"{shorten(name)} {format_shape(one)}" for name, one in axes.items())
        raise ArchcalcError(f"its inputs differ in their first axis, the batch: {shown}")
    versions = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    file = File(
        made_by=f"{model.producer_name} {model.producer_version}".strip(),
        opset=str(versions.get("ai.onnx", "unknown")),
        calls=[_call(onnx, node) for node in graph.node],
        inputs=[*axes],
        outputs=[one.name for one in graph.output],
        tensors=tensors,
        dtypes={one.name: DTYPES.get(one.type.tensor_type.elem_type, "") for one in graph.input},
        sizes=(),
        batch=fixed.pop() if fixed else None,
    )
    file.require_order()
    return file, axes


def _lift(onnx: Any, graph: Any) -> set[str]:
    """Store the values of Constant nodes as the graph's other tensors; return their names."""
    found = [node for node in graph.node if node.op_type == "Constant" and node.output]
    found = [node for node in found if node.attribute and node.attribute[0].name in CONSTANTS]
    for node in found:
        key = node.attribute[0].name
        value = getattr(node.attribute[0], CONSTANTS[key])
        if key != "value":
            numbers, dims = (value, [len(value)]) if key.endswith("s") else ([value], [])
            value = onnx.helper.make_tensor("", INT64 if "int" in key else FLOAT, dims, numbers)
        value.name = node.output[0]
        graph.initializer.append(value)
    lifted = {node.output[0] for node in found}
    _keep(graph.node, [node for node in graph.node if lifted.isdisjoint(node.output)])
    return lifted


def _keep(nodes: Any, kept: Sequence[Any]) -> None:
    del nodes[:]
    nodes.extend(kept)


def _kinds(values: Iterable[Any]) -> dict[str, str]:
    """Return what PyTorch's newer exporter says of stored tensors; what it computed from none with a dot is constant.

    Names of tensors of modules have dots.
    """
    kinds = {}
    for value in values:
        said = {entry.key: str(entry.value) for entry in value.metadata_props}
        computed = "COMPUTED" if search(r"'[^']*\.[^']*'", said.get(FOLDED, "")) else "CONSTANT"
        kinds[value.name] = said.get(KIND, computed if FOLDED in said else "")
    return kinds


def _graphs(node: Any) -> Iterator[Any]:
    """Yield the graphs within a node, such as the branches of If."""
    for attribute in node.attribute:
        yield from [attribute.g] * attribute.HasField("g")
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all tensors that a graph, and those within its nodes, store by name."""
    yield from graph.initializer
    for node in graph.node:
        for inner in _graphs(node):
            yield from _tensors(inner)


def _stripped(onnx: Any, tensor: Any) -> Tensor:
    """Return a tensor with its values, if it is small; else drop its bytes."""
    sizes, dtype = tuple(tensor.dims), DTYPES.get(tensor.data_type, "")
    small = dtype and prod(sizes) <= (SMALL_INTEGERS if dtype.startswith("int") else SMALL)
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


def _sizes(axes: Axes, given: Given) -> dict[str, Sizes]:
    """Return the sizes of inputs without the batch: those given, else the file's. Raises ArchcalcError if one lacks."""
    if given is not None and not isinstance(given, Mapping):
        if len(axes) != 1:
            raise ArchcalcError(f"has {len(axes)} inputs; give sizes by name: {', '.join(axes)}")
        given = dict.fromkeys(axes, given)
    if unknown := (given or {}).keys() - axes.keys():
        raise ArchcalcError(f"has no input {shorten(str(min(unknown)))!r}; its inputs are {', '.join(axes)}")
    found = {}
    for name, every in axes.items():
        own = every[1:]
        sizes = (given or {}).get(name, own)
        if len(sizes) != len(own):
            beside = f"{format_shape(own)} beside the batch, not {format_shape(sizes)}"
            raise ArchcalcError(f"input {shorten(name)} has the axes {beside}")
        found[name] = tuple([size for size in sizes if isinstance(size, int)])
        if len(found[name]) < len(sizes):
            dynamic = " and axis ".join([f"{axis!r}" for axis in sizes if not isinstance(axis, int)])
            usual = format_shape([axis if isinstance(axis, int) else 224 for axis in sizes])
            write = f"write all sizes without the batch, such as --input {shorten(name)}={usual}"
            raise ArchcalcError(f"axis {dynamic} of input {shorten(name)} has no fixed size; {write}")
    return found


def _call(onnx: Any, node: Any) -> Call:
    """Return a node as plain data; what graphs within it read are inputs, too."""
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    given = {one.name: _plain(onnx, one) for one in node.attribute}
    given = {key: value for key, value in given.items() if value is not None}
    inner = tuple(sorted({name for graph in _graphs(node) for name in _read(graph)}))
    scopes = [findall(r"'([^']*)'", str(entry.value))[:-1] for entry in node.metadata_props if entry.key == SCOPES]
    scope = scopes[0][-1] if scopes and scopes[0] else ""
    op, inputs = node.op_type, tuple(node.input)
    if op == "CastLike":  # a second input of which only the type is read
        op, inputs = "Cast", inputs[:1]
    return Call(f"{domain}{op}", node.name, inputs + inner, tuple(node.output), given, scope)


def _read(graph: Any) -> set[str]:
    """Return what a graph within a node reads from around it."""
    own = {one.name for one in (*graph.input, *graph.initializer)} | {name for one in graph.node for name in one.output}
    read = {name for one in graph.node for name in one.input} | {one.name for one in graph.output}
    return read.union(*[_read(inner) for one in graph.node for inner in _graphs(one)]) - own


def _plain(onnx: Any, attribute: Any) -> Any:
    """Return a number, a text or a tuple of them; None for anything else."""
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return _stripped(onnx, value).values
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, int | float) else tuple(value) if isinstance(value, Iterable) else None


def _sized(onnx: Any, model: Any, file: File, inputs: Mapping[str, Sizes], batches: Sequence[int]) -> File | None:
    """Return the file with the sizes of all values at these batches. Raises ArchcalcError if some are unknown.

    Return None if conditions are known now: then the branches that they choose are part of the model.
    """
    types = dict(file.dtypes)
    every = [_inferred(onnx, model, file, {k: (n, *own) for k, own in inputs.items()}, types) for n in batches]
    fixed = {name: one for name, one in every[0][1].items() if one == every[-1][1].get(name)}
    tensors = file.tensors | fixed
    if _take_branches(model.graph, tensors):
        return None
    found = file._replace(sizes=[sizes for sizes, _ in every], dtypes=types, tensors=tensors)
    found.require_sizes()
    return found


def _take_branches(graph: Any, known: Mapping[str, Tensor]) -> bool:
    """Replace each If whose condition is known by the branch that this chooses; return whether there was one."""
    nodes, names, taken = list[Any](), {name for node in graph.node for name in node.output}, False
    for node in graph.node:
        condition = known[node.input[0]].values if node.op_type == "If" and node.input[0] in known else ()
        wanted = f"{'then' if condition and condition[0] else 'else'}_branch"
        branch = next((one.g for one in node.attribute if condition and one.name == wanted), None)
        inner = {name for one in branch.node for name in one.output} if branch else set[str]()
        if branch is None or not inner.isdisjoint(names):  # a name that another value has cannot be taken
            nodes.append(node)
            continue
        taken, names = True, names | inner
        graph.initializer.extend(branch.initializer)
        made = zip(branch.output, node.output, strict=False)
        nodes += [*branch.node, *[type(node)(op_type="Identity", input=[a.name], output=[b]) for a, b in made]]
    _keep(graph.node, nodes)
    return taken


def _inferred(
    onnx: Any, model: Any, file: File, inputs: Mapping[str, Sizes], types: dict[str, str]
) -> tuple[dict[str, Sizes], dict[str, Tensor]]:
    """Return the sizes of all values that inference knows, and the numbers that shapes decide.

    Put the dtypes of values into `types`.
    """
    from archcalc.importers.onnx_nodes.constants import folded  # it imports NumPy, as onnx does

    model, bounded = _with_inputs(model, inputs), file.bounded()
    sizes: dict[str, Sizes] = {name: one.sizes for name, one in file.tensors.items()}
    known: dict[str, Tensor] = {}
    for turn in range(MAX_ROUNDS):
        new = {name: one for name, one in folded(file.calls, file.tensors, sizes).items() if name not in known}
        if turn and not new:
            break
        _keep(model.graph.node, [node for node in model.graph.node if new.keys().isdisjoint(node.output)])
        for name, numbers in new.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
            known[name] = Tensor(numbers.shape, str(numbers.dtype), tuple(numbers.ravel().tolist()), "CONSTANT")
        try:
            found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=bounded).graph
        except onnx.shape_inference.InferenceError as error:
            raise ArchcalcError(f"its shapes do not fit: {shorten(str(error).splitlines()[0], 200)}") from None
        for value in (*found.input, *found.value_info, *found.output):
            tensor = value.type.tensor_type
            if tensor.HasField("shape") and all(one.HasField("dim_value") for one in tensor.shape.dim):
                sizes[value.name] = tuple([one.dim_value for one in tensor.shape.dim])
                types[value.name] = DTYPES.get(tensor.elem_type, "")
    stored = file.tensors | known
    types.update({name: one.dtype for name, one in stored.items()})
    return sizes | {name: one.sizes for name, one in stored.items()}, known


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
