"""ONNX files as graphs: small ones written here, so that no test needs PyTorch; its exporters at the end."""

import sys
import warnings

import pytest
from support.fresh_python import imported_by

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.graph.batchnorm_folding import fold_batchnorm
from archcalc.importers.onnx_file import from_onnx
from archcalc.ops import make
from archcalc.ops.base import REGISTRY

onnx = pytest.importorskip("onnx")
FLOAT, INT8, INT64 = 1, 3, 7  # the types of numbers
N = "batch"


def weights(**sizes):
    """Tensors of ones with these sizes."""
    return [onnx.helper.make_tensor(name, FLOAT, dims, [1.0] * _count(dims)) for name, dims in sizes.items()]


def numbers(**lists):
    return [onnx.helper.make_tensor(name, INT64, [len(values)], values) for name, values in lists.items()]


def _count(dims):
    count = 1
    for dim in dims:
        count *= dim
    return count


def node(op, inputs, outputs="y", name="", **given):
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), name=name, **given)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes nodes, inputs (name → sizes) and stored tensors into a file."""

    def write(nodes, inputs, stored=(), opset=20, outputs="y", types=None, values=(), **model):
        given = [
            onnx.helper.make_tensor_value_info(name, (types or {}).get(name, FLOAT), s) for name, s in inputs.items()
        ]
        made = [
            onnx.helper.make_tensor_value_info(name, (types or {}).get(name, FLOAT), None) for name in outputs.split()
        ]
        graph = onnx.helper.make_graph(nodes, "g", given, made, stored, value_info=values)
        path = tmp_path / "network.onnx"
        opsets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("own", 1)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, **model), path)
        return path

    return write


SPEC = """
name: small
input: [3, 8, 8]
layers:
  - conv(4, 3, padding=1)
  - batchnorm
  - relu
  - maxpool(2)
  - flatten
  - linear(10)
"""
NODES = [
    node("Conv", "x w b", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    node("BatchNormalization", "a s t m v", "n"),
    node("Relu", "n", "r"),
    node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
    node("Flatten", "p", "f"),
    node("Gemm", "f k c", transB=1),
]
STORED = weights(w=[4, 3, 3, 3], b=[4], s=[4], t=[4], m=[4], v=[4], k=[10, 64], c=[10])


def test_a_file_has_the_figures_of_its_spec(write):
    graph = from_onnx(write(NODES, {"x": [N, 3, 8, 8]}, STORED))
    found, spec = analyze(graph, batch=3), analyze(parse(SPEC), batch=3)
    assert [one.node.op.name for one in found.layers] == [one.node.op.name for one in spec.layers]
    assert found.totals.figures() == spec.totals.figures() | {"receptive_field_at": found.totals.receptive_field_at}
    assert graph.about.notes == ("ONNX opset 20; parameters are those of the file",)


FOLDED = "no BatchNormalization follows a convolution or linear layer: it may be folded into them"


def test_a_file_without_batch_normalization_says_so(write):
    assert FOLDED in from_onnx(write([node("Conv", "x w")], {"x": [N, 3, 8, 8]}, STORED)).about.notes
    assert FOLDED in from_onnx(write([node("Gemm", "x k", transB=1)], {"x": [N, 64]}, STORED)).about.notes
    assert FOLDED not in from_onnx(write([node("Relu", "x")], {"x": [N, 64]})).about.notes
    normalized = [node("Gemm", "x e", "a"), node("BatchNormalization", "a s t m v")]
    assert FOLDED not in from_onnx(write(normalized, {"x": [N, 4]}, [*STORED, *weights(e=[4, 4])])).about.notes


SIZES = {"C": [N, 6], "CL": [N, 4, 10], "CHW": [N, 4, 6, 8], "TC": [N, 5, 6]}
CASES = [  # the axes of x, the node, its stored tensors, and our operator with its arguments
    ("CHW", node("Conv", "x w", strides=[2, 2], auto_pad="SAME_UPPER", group=2), weights(w=[6, 2, 3, 3]),
     "conv", {"out_channels": 6, "kernel_size": 3, "stride": 2, "padding": "SAME", "groups": 2, "bias": False}),
    ("CHW", node("Conv", "x w", pads=[0, 1, 2, 3]), weights(w=[6, 4, 3, 3]),
     "conv", {"out_channels": 6, "kernel_size": 3, "padding": ((0, 2), (1, 3)), "bias": False}),
    ("CHW", node("ConvTranspose", "x w", strides=[2, 2], output_padding=[1, 1]), weights(w=[4, 6, 3, 3]),
     "conv_transpose", {"out_channels": 6, "kernel_size": 3, "stride": 2, "output_padding": 1, "bias": False}),
    ("TC", node("MatMul", "x w"), weights(w=[6, 7]), "linear", {"out_features": 7, "bias": False}),
    ("C", node("Gemm", "x w b"), weights(w=[6, 7], b=[7]), "linear", {"out_features": 7}),
    ("CHW", node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), (),
     "avgpool", {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}),
    ("CHW", node("GlobalAveragePool", "x"), (), "global_avgpool", {}),
    ("CHW", node("ReduceMean", "x a"), numbers(a=[2, -1]), "global_avgpool", {}),
    ("CHW", node("Clip", "x l h"), [*weights(l=[], h=[])], "clamp", {"min": 1, "max": 1}),
    ("CHW", node("Clip", "x", min=0.0, max=6.0), (), "relu6", {}),
    ("CHW", node("LeakyRelu", "x", alpha=0.5), (), "leaky_relu", {"negative_slope": 0.5}),
    ("CHW", node("PRelu", "x w"), weights(w=[4, 1, 1]), "prelu", {"num_parameters": 4}),
    ("TC", node("Gelu", "x", approximate="tanh"), (), "gelu", {"approximate": "tanh"}),
    ("TC", node("Softmax", "x"), (), "softmax", {}),
    ("C", node("LogSoftmax", "x"), (), "log_softmax", {}),
    ("CHW", node("InstanceNormalization", "x s b"), weights(s=[4], b=[4]), "instancenorm", {"affine": True}),
    ("TC", node("LayerNormalization", "x s b", epsilon=0.5), weights(s=[6], b=[6]), "layernorm", {"eps": 0.5}),
    ("CHW", node("Transpose", "x", perm=[0, 2, 3, 1]), (), "permute", {"axes": "HWC"}),
    ("CHW", node("Transpose", "x", perm=[0, 2, -1, 1]), (), "permute", {"axes": "HWC"}),
    ("TC", node("Transpose", "x", perm=[0, 2, 1]), (), "transpose", {}),
    ("CHW", node("Reshape", "x s"), numbers(s=[0, 4, -1]), "reshape", {"C": 4, "L": 48}),
    ("CHW", node("Reshape", "x s"), numbers(s=[0, -1]), "flatten", {}),
    ("CHW", node("Slice", "x s e a"), numbers(s=[1], e=[3], a=[1]), "slice", {"start": 1, "stop": 3, "axis": "C"}),
    ("CHW", node("Pad", "x p"), numbers(p=[0, 0, 1, 2, 0, 0, 3, 4]), "pad", {"padding": ((1, 3), (2, 4))}),
    ("CHW", node("DepthToSpace", "x", blocksize=2, mode="CRD"), (), "pixel_shuffle", {"upscale_factor": 2}),
    ("CHW", node("Dropout", "x"), (), "dropout", {}),
]  # fmt: skip


@pytest.mark.parametrize(("axes", "one", "stored", "name", "given"), CASES)
def test_nodes_become_our_operators(write, axes, one, stored, name, given):
    graph = from_onnx(write([one], {"x": SIZES[axes]}, stored, opset=6 if one.op_type == "Clip" and not stored else 20))
    (layer,) = graph.nodes[1:]
    expected = make(REGISTRY[name], (), given)
    assert layer.op.but(**_rounded(layer.op)) == expected.but(**_rounded(expected))


def _rounded(op):
    return {key: round(value, 6) for key, value in vars(op).items() if isinstance(value, float)}


def test_a_resize_is_upsample(write):
    scales = [onnx.helper.make_tensor("s", FLOAT, [4], [1.0, 1.0, 2.0, 2.0])]
    resize = onnx.helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")
    (layer,) = from_onnx(write([resize], {"x": SIZES["CHW"]}, scales)).nodes[1:]
    assert layer.op == make(REGISTRY["upsample"], (), {"size": (12, 16), "mode": "bilinear", "align_corners": False})


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_have_the_figures_of_ours(write, op):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    stored = weights(w=[1, gates * 7, 6], r=[1, gates * 7, 7], b=[1, 2 * gates * 7])
    more = {"linear_before_reset": 1} if op == "GRU" else {}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node(op, "t w r b", hidden_size=7, **more)]
    found = analyze(from_onnx(write(nodes, {"x": SIZES["TC"]}, stored)))
    spec = analyze(parse(f"name: a\ninput: {{T: 5, C: 6}}\nlayers: {op.lower()}(7)"))
    for key in ("params", "macs", "flops"):
        assert getattr(found.totals, key) == getattr(spec.totals, key)


@pytest.mark.parametrize("tokens", ["h", ""])
def test_a_recurrent_layer_of_which_only_the_state_is_read(write, tokens):
    """A file may leave out the output of all tokens; then archcalc has no rule for the work."""
    stored = weights(w=[1, 28, 6], r=[1, 28, 7], b=[1, 56])
    lstm = onnx.helper.make_node("LSTM", ["t", "w", "r", "b"], [tokens, "y"], hidden_size=7)
    graph = from_onnx(write([node("Transpose", "x", "t", perm=[1, 0, 2]), lstm], {"x": SIZES["TC"]}, stored))
    unknown = [node for node in graph.nodes if getattr(node.op, "counts", ()) is None]
    assert (analyze(graph).totals.macs, len(unknown)) == ((5 * 28 * 13, 0) if tokens else (None, 1))
    assert analyze(graph).totals.params == 28 * 13 + 56


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_the_last_state_comes_from_its_layer(write, op):
    stored = weights(w=[1, {"LSTM": 28, "GRU": 21, "RNN": 7}[op], 6], r=[1, {"LSTM": 28, "GRU": 21, "RNN": 7}[op], 7])
    more = {"linear_before_reset": 1} if op == "GRU" else {}
    layer = onnx.helper.make_node(op, ["t", "w", "r"], ["h", "y"], hidden_size=7, **more)
    graph = from_onnx(write([node("Transpose", "x", "t", perm=[1, 0, 2]), layer], {"x": SIZES["TC"]}, stored))
    assert [(one.name, one.inputs) for one in graph.nodes[1:]] == [(op.lower(), (0,)), (f"{op.lower()}2", (1,))]


GROUPS = [
    node("Reshape", "x split", "a"), node("InstanceNormalization", "a ones zeros", "b", epsilon=0.5),
    node("Reshape", "b whole", "c"), node("Mul", "c s", "d"), node("Add", "d t"),
]  # fmt: skip


@pytest.mark.parametrize(("scale", "ours"), [(1.0, ["groupnorm"]), (2.0, None)])
def test_group_normalization_that_exporters_write_out_is_one_layer(write, scale, ours):
    """They normalize each group as a row, with ones and zeros as weights; then they multiply and add per channel."""
    ones, zeros = [onnx.helper.make_tensor(name, FLOAT, [2], [value] * 2) for name, value in (("o", scale), ("z", 0.0))]
    nodes = [node("Constant", "", "ones", value=ones), node("Constant", "", "zeros", value=zeros), *GROUPS]
    stored = [*weights(s=[4, 1, 1], t=[4, 1, 1]), *numbers(split=[0, 2, -1], whole=[-1, 4, 6, 8])]
    graph = from_onnx(write(nodes, {"x": SIZES["CHW"]}, stored))
    assert analyze(graph).totals.params == 8
    if ours:
        assert graph.nodes[1].op == make(REGISTRY["groupnorm"], (2,), {"eps": 0.5})
    else:
        assert [one.op.name for one in graph.nodes[1:]][1] == "instancenorm"


def test_an_embedding_reads_numbers_of_tokens(write):
    graph = from_onnx(write([node("Gather", "w x")], {"x": [N, 5]}, weights(w=[100, 6]), types={"x": INT64}))
    assert graph.nodes[1].op == make(REGISTRY["embedding"], (100, 6), {})


def const(name, value):
    return onnx.helper.make_tensor(name, FLOAT, [], [value])


PATTERNS = {
    "silu": [node("Sigmoid", "x", "a"), node("Mul", "a x")],
    "gelu": [node("Div", "x root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c"), node("Mul", "x c", "d"),
             node("Mul", "d half")],
    "hardswish": [node("Add", "x three", "a"), node("Clip", "a zero six", "b"), node("Mul", "x b", "c"),
                  node("Div", "c six")],
}  # fmt: skip
CONSTANTS = {"root": 1.4142135, "one": 1.0, "half": 0.5, "three": 3.0, "zero": 0.0, "six": 6.0}


@pytest.mark.parametrize("name", PATTERNS)
def test_activations_that_exporters_write_out_are_one_layer(write, name):
    stored = [const(key, value) for key, value in CONSTANTS.items()]
    (layer,) = from_onnx(write(PATTERNS[name], {"x": SIZES["TC"]}, stored)).nodes[1:]
    assert layer.op == make(REGISTRY[name], (), {})


def test_what_only_looks_like_an_activation_stays_as_it_is(write):
    stored = [const(key, value) for key, value in CONSTANTS.items()] + [const("other", 0.25)]
    nodes = [*PATTERNS["gelu"][:-1], node("Mul", "d other")]
    graph = from_onnx(write(nodes, {"x": SIZES["TC"]}, stored))
    assert [one.op.name for one in graph.nodes[1:]] == ["onnx::Div", "onnx::Erf", "onnx::Add", "multiply", "onnx::Mul"]
    assert analyze(graph, batch=2).totals.flops == 2 * 30 * 5


def test_an_activation_of_which_a_part_is_read_elsewhere_stays_as_it_is(write):
    graph = from_onnx(write([*PATTERNS["silu"]], {"x": SIZES["TC"]}, outputs="y a"))
    assert [one.op.name for one in graph.nodes[1:]] == ["sigmoid", "multiply"]


class TestTensorsBesideValues:
    """Whether a stored tensor that a node adds or multiplies is a parameter."""

    NODES = (node("Add", "x table", "a"), node("Mul", "a scale"))
    STORED = weights(table=[1, 5, 6], scale=[6])
    KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
    FROM = "pkg.onnxscript.optimizer.folded_from"

    def described(self, **said):
        values = [onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in said]
        for value, (key, text) in zip(values, said.values(), strict=True):
            value.metadata_props.add(key=key, value=text)
        return values

    def read(self, write, **said):
        graph = from_onnx(write(self.NODES, {"x": SIZES["TC"]}, self.STORED, values=self.described(**said)))
        return analyze(graph).totals.params, [note for note in graph.about.notes if "does not say" in note]

    def test_one_counts_and_a_note_says_how_many_do(self, write):
        params, (note,) = self.read(write)
        assert params == 36
        assert "count as parameters (2 of them, 36 values, 0 computed by the exporter): the file does not say" in note

    def test_what_the_file_says_decides(self, write):
        said = {"table": (self.KIND, "BUFFER"), "scale": (self.KIND, "PARAMETER")}
        assert self.read(write, **said) == (6, [])

    @pytest.mark.parametrize(("source", "params"), [("['val_1', 'zeros']", 0), ("['stage1.0.table', 'val_1']", 30)])
    def test_what_an_exporter_computed_from_no_tensor_of_a_module_is_constant(self, write, source, params):
        found, notes = self.read(write, table=(self.FROM, source), scale=(self.KIND, "CONSTANT_TENSOR"))
        assert (found, len(notes)) == (params, params > 0)
        assert all("1 computed by the exporter" in note for note in notes)

    def test_the_value_of_a_node_is_constant(self, write):
        mask = onnx.helper.make_tensor("m", FLOAT, [5, 6], [1.0] * 30)
        graph = from_onnx(write([node("Constant", "", "m", value=mask), node("Mul", "x m")], {"x": SIZES["TC"]}))
        assert [one.op.name for one in graph.nodes[1:]] == ["constant", "multiply"]

    def test_a_weight_that_is_larger_than_what_is_stored_counts_as_stored_and_a_note_says_so(self, write):
        nodes = [
            node("Expand", "zero sizes", "zeros"),
            node("ScatterND", "zeros places rows", "w"),
            node("Conv", "x w"),
        ]
        places = onnx.helper.make_tensor("places", INT64, [3, 1], [0, 1, 3])
        stored = [*weights(rows=[3, 2, 1, 1]), *numbers(sizes=[4, 2, 1, 1]), const("zero", 0.0), places]
        graph = from_onnx(write(nodes, {"x": [N, 2, 6, 6]}, stored))
        report = analyze(graph)
        assert (report.totals.params, report.totals.macs) == (6, 4 * 2 * 36)
        assert any("all of it counts as MACs" in note for note in graph.about.notes)

    def test_a_table_whose_rows_are_repeated_counts_as_stored(self, write):
        nodes = [node("Gather", "table places", "t"), node("Add", "x t")]
        stored = [*weights(table=[3, 6]), *numbers(places=[0, 1, 2, 1, 0])]
        assert analyze(from_onnx(write(nodes, {"x": SIZES["TC"]}, stored))).totals.params == 18


@pytest.mark.parametrize(("second", "params"), [("w b", 44), ("w c", 48), ("v b", 84), ("v c", 88)])
def test_stored_tensors_of_several_nodes_count_once(write, second, params):
    stored = weights(w=[4, 4, 3, 3], b=[4], v=[4, 4, 3, 3], c=[4])
    nodes = [node("Conv", "x w b", "a"), node("Conv", f"a {second}")]
    graph = from_onnx(write(nodes, {"x": [N, 4, 8, 8]}, stored))
    once, extra = 148, {44: 0, 48: 4, 84: 144, 88: 148}[params]
    assert analyze(graph).totals.params == once + extra
    assert any("count once" in note for note in graph.about.notes) == (second != "v c")


def test_tensors_that_two_other_nodes_have_count_once(write):
    stored = weights(s=[4], b=[4], t=[4], c=[4], m=[4], v=[4])
    nodes = [node("BatchNormalization", "x s b m v", "a"), node("BatchNormalization", "a t c m v", "d"),
             node("InstanceNormalization", "d s c")]  # fmt: skip
    report = analyze(from_onnx(write(nodes, {"x": [N, 4, 8, 8]}, stored)))
    assert report.totals.params == 16
    assert report.layers[-1].flops > 0


def test_a_function_with_a_rule_counts_and_one_without_is_unknown(write):
    known = from_onnx(write([node("ReduceMax", "x", axes=[1])], {"x": SIZES["TC"]}, opset=13))
    assert analyze(known, batch=3).totals.flops == 3 * (30 - 6)
    unknown = from_onnx(write([node("Det", "x")], {"x": [N, 4, 4]}))
    assert unknown.nodes[1].op.counts is None


def test_the_product_of_two_values_counts_for_each_image(write):
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")]
    assert analyze(from_onnx(write(nodes, {"x": SIZES["TC"]})), batch=2).totals.macs == 2 * 5 * 5 * 6
    einsum = node("Einsum", "x x", equation="bij,bkj->bik")
    assert analyze(from_onnx(write([einsum], {"x": SIZES["TC"]})), batch=2).totals.macs == 2 * 5 * 5 * 6


def test_fused_attention_counts_scores_and_sums(write):
    attention = node("Attention", "x x x", q_num_heads=2, kv_num_heads=2)
    report = analyze(from_onnx(write([attention], {"x": SIZES["TC"]}, opset=23)), batch=2)
    assert report.totals.macs == 2 * 2 * 5 * 5 * 6


@pytest.mark.parametrize(
    ("opset", "sizes", "op"), [(11, [3, 4, 4], "onnx::Softmax"), (11, [3, 1, 1], "softmax"), (13, [3, 4, 4], "softmax")]
)
def test_softmax_was_over_all_axes_from_its_own_on(write, opset, sizes, op):
    given = {"axis": 1} if opset == 13 else {}  # the default of version 11
    (_, _, last) = analyze(from_onnx(write([node("Relu", "x", "r"), node("Softmax", "r", **given)], {"x": [N, *sizes]},
                                           opset=opset))).layers  # fmt: skip
    assert (last.node.op.name, last.flops is None) == (op, op != "softmax")


def test_only_inputs_behind_weights_have_gradients(write):
    nodes = [node("MatMul", "x w", "a"), node("Transpose", "a", "t", perm=[0, 2, 1]), node("MatMul", "x t")]
    graph = from_onnx(write(nodes, {"x": SIZES["TC"]}, weights(w=[6, 6])))
    product = analyze(graph, mode="train").layers[-1]
    assert product.step_macs == 2 * product.macs  # forward, and the gradient of one of two inputs


def test_a_function_with_weights_has_their_gradient(write):
    nodes = [node("Conv", "x w", "a"), node("Conv", "a v", auto_pad="SAME_LOWER")]
    graph = from_onnx(write(nodes, {"x": [N, 4, 8, 8]}, weights(w=[4, 4, 1, 1], v=[4, 4, 2, 2])))
    last = analyze(graph, mode="train").layers[-1]
    assert (last.node.op.name, last.step_macs) == ("onnx::Conv", 3 * last.macs)


def test_chosen_places_are_summed_in_the_gradient_and_one_place_is_a_part(write):
    gathered = [node("Gemm", "x w", "a"), node("Gather", "a places", axis=1)]
    for places, step in ([3, 0, 0], 3), ([2], 0):
        graph = from_onnx(write(gathered, {"x": [N, 4]}, [*weights(w=[4, 4]), *numbers(places=places)]))
        report = analyze(graph, batch=2, mode="train")
        assert report.layer("gather").step_flops == 2 * step
        assert report.totals.saved_bytes == 2 * 4 * 4  # the image, for the weights


def test_numbers_without_fractions_have_their_own_bytes(write):
    nodes = [node("Gemm", "x w", "a"), node("Greater", "a x", "b"), node("ArgMax", "a", "y", axis=1)]
    graph = from_onnx(write([*nodes, node("Where", "b a x", "c")], {"x": [N, 4]}, weights(w=[4, 4]),
                            outputs="y c", types={"y": INT64}))  # fmt: skip
    report = analyze(graph)
    found = {name: report.layer(name) for name in ("greater", "argmax", "where")}
    assert [one.activation_bytes for one in found.values()] == [4, 8, 16]
    assert [one.bytes_moved for one in found.values()] == [16 + 16 + 4, 16 + 8, 4 + 3 * 16]


def test_what_depends_only_on_shapes_is_no_layer(write):
    nodes = [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Concat", "n rest", "t", axis=0),
             node("Mod", "t large", "u"), node("Reshape", "x u", "y")]  # fmt: skip
    graph = from_onnx(write(nodes, {"x": SIZES["TC"]}, numbers(zero=[0], rest=[30], large=[1000])))
    assert [one.op.name for one in graph.nodes[1:]] == ["flatten"]


def test_a_number_of_a_shape_that_becomes_a_fraction_keeps_its_type(write):
    nodes = [node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Cast", "n", "f", to=FLOAT),
             node("Mod", "s large", "u"), node("Reshape", "x u", "r"), node("Mul", "r f")]  # fmt: skip
    graph = from_onnx(write(nodes, {"x": [1, 5, 6]}, numbers(one=[1], large=[1000] * 3)))
    assert [one.op.name for one in graph.nodes[1:]] == ["onnx::Mul"]


def test_quantized_weights_count_as_weights(write):
    stored = [onnx.helper.make_tensor("q", INT8, [4, 3, 3, 3], [1] * 108), const("s", 0.5)]
    nodes = [node("DequantizeLinear", "q s", "w"), node("Conv", "x w", "a"), node("QuantizeLinear", "a s", "y")]
    report = analyze(from_onnx(write(nodes, {"x": [N, 3, 8, 8]}, stored, types={"y": 2})))
    assert (report.totals.params, report.layers[-1].flops) == (108, 4 * 36 * 4)


class TestBranches:
    def arm(self, name, op="Relu", inner="inner"):
        nodes = [node(op, "x", f"{inner}_{name}"), node("Mul", f"{inner}_{name} w", name)]
        made = [onnx.helper.make_tensor_value_info(name, FLOAT, None)]
        return onnx.helper.make_graph(nodes, name, [], made, weights(w=[3]))

    def chosen(self, condition, **more):
        return node("If", condition, then_branch=self.arm("a", **more), else_branch=self.arm("b", "Tanh", **more))

    @pytest.mark.parametrize(("value", "op"), [(True, "relu"), (False, "tanh")])
    def test_a_known_condition_takes_one(self, write, value, op):
        condition = onnx.helper.make_tensor("c", 9, [], [value])
        graph = from_onnx(write([self.chosen("c")], {"x": [N, 3]}, [condition]))
        assert [one.op.name for one in graph.nodes[1:]] == [op, "parameter", "multiply"]

    @pytest.mark.parametrize(("axis", "op"), [("one", "tanh"), ("zero", "onnx::If")])
    def test_a_condition_on_a_shape_is_known_unless_it_is_the_batch(self, write, axis, op):
        nodes = [node("Shape", "x", "s"), node("Gather", f"s {axis}", "n"), node("Equal", "n one", "c"),
                 self.chosen("c")]  # fmt: skip
        graph = from_onnx(write(nodes, {"x": [N, 3]}, numbers(zero=[0], one=[1])))
        assert graph.nodes[1].op.name == op

    def test_a_name_of_another_value_is_not_taken_again(self, write):
        condition = onnx.helper.make_tensor("c", 9, [], [True])
        nodes = [node("Relu", "x", "inner_a"), self.chosen("c"), node("Add", "y inner_a", "z")]
        graph = from_onnx(write(nodes, {"x": [1, 3]}, [condition], outputs="z"))
        assert [one.op.name for one in graph.nodes[1:]] == ["relu", "onnx::If", "add"]

    def test_an_unknown_condition_is_unknown_work_that_reads_values_around_it(self, write):
        made = [onnx.helper.make_tensor_value_info("y", FLOAT, [1, 3])]
        path = write([self.chosen("c")], {"x": [1, 3], "c": [1]}, types={"c": 9}, values=made)
        (layer,) = from_onnx(path).nodes[2:]
        assert (layer.inputs, layer.op.counts) == ((1, 0), None)


class TestNames:
    def test_of_the_older_exporter(self, write):
        names = ["/features/features.0/Conv", "/features/block/relu/Relu", "/features/block/relu_1/Relu"]
        nodes = [node("Conv", "x w", "a", name=names[0]), node("Relu", "a", "b", name=names[1]),
                 node("Relu", "b", name=names[2])]  # fmt: skip
        graph = from_onnx(write(nodes, {"x": [N, 3, 8, 8]}, weights(w=[4, 3, 3, 3])))
        assert [one.name for one in graph.nodes] == ["x", "features.0", "features.block.relu", "features.block.relu_1"]

    def test_of_the_newer_exporter(self, write):
        nodes = [node("Conv", "x w", "a", name="node_1"), node("Relu", "a", name="node_2")]
        for one, scope in zip(nodes, ("layer.0.conv", "layer.0"), strict=True):
            entry = one.metadata_props.add()
            entry.key, entry.value = "pkg.torch.onnx.name_scopes", f"['', 'layer', '{scope}', 'a']"
        graph = from_onnx(write(nodes, {"x": [N, 3, 8, 8]}, weights(w=[4, 3, 3, 3])))
        assert [one.name for one in graph.nodes] == ["x", "layer.0.conv", "layer.0.relu"]

    def test_that_are_endless_are_cut(self, write):
        graph = from_onnx(write([node("Relu", "x", name="a.b" * 100_000 + "/Relu")], {"x": [N, 3]}))
        assert len(graph.nodes[1].name) < 400

    def test_without_any(self, write):
        nodes = [node("Relu", "x", "a"), node("Relu", "a", name="\x1b[31mevil")]
        assert [one.name for one in from_onnx(write(nodes, {"x": [N, 3]})).nodes] == ["x", "relu", "relu2"]


class TestBatch:
    def test_a_dynamic_or_fixed_batch_gives_the_figures_of_one_image(self, write):
        for batch in (N, 1, 8, None):
            graph = from_onnx(write(NODES, {"x": [batch, 3, 8, 8]}, STORED))
            assert analyze(graph, batch=5).totals.macs == analyze(parse(SPEC), batch=5).totals.macs
            assert any("its batch is 8" in note for note in graph.about.notes) == (batch == 8)

    def test_a_batch_in_the_sizes_of_a_reshape_counts_as_runs_or_is_refused(self, write):
        nodes = [*NODES[:4], node("Reshape", "p z", "f"), NODES[5]]
        one = from_onnx(write(nodes, {"x": [1, 3, 8, 8]}, [*STORED, *numbers(z=[1, 64])]))
        assert "its batch cannot be changed: a batch of N counts as N runs" in one.about.notes
        assert analyze(one, batch=5).totals.macs == analyze(parse(SPEC), batch=5).totals.macs
        path = write(nodes, {"x": [8, 3, 8, 8]}, [*STORED, *numbers(z=[8, 64])])
        with pytest.raises(ArchcalcError, match=r"its batch is 8, and cannot be 1 or 2 .*export it with a batch of 1"):
            from_onnx(path)

    def test_inputs_of_different_batches_are_refused(self, write):
        path = write([node("MatMul", "x z")], {"x": [3, 4], "z": [4, 5]})
        with pytest.raises(ArchcalcError, match="its inputs differ in their first axis, the batch: x 3×4, z 4×5"):
            from_onnx(path)


class TestSizes:
    NODES = (node("Relu", "x"),)

    def test_of_open_axes_are_given(self, write):
        path = write(self.NODES, {"x": [N, 3, "height", "width"]})
        with pytest.raises(ArchcalcError, match=r"axis 'height' and axis 'width' of input x .*--input x=3×224×224"):
            from_onnx(path)
        for given in ((3, 10, 12), {"x": (3, 10, 12)}):
            assert from_onnx(path, given).input == (3, 10, 12)

    @pytest.mark.parametrize(("given", "words"), [
        ((3, 10), "input x has the axes 3×8×8 beside the batch, not 3×10"),
        ({"z": (3, 8, 8)}, "has no input 'z'; its inputs are x"),
    ])  # fmt: skip
    def test_wrong_ones_are_refused(self, write, given, words):
        with pytest.raises(ArchcalcError, match=words):
            from_onnx(write(self.NODES, {"x": [N, 3, 8, 8]}), given)

    def test_other_ones_that_do_not_fit_are_refused(self, write):
        path = write(NODES, {"x": [N, 3, 8, 8]}, STORED)
        with pytest.raises(ArchcalcError, match="its shapes do not fit"):
            from_onnx(path, (3, 20, 20))

    def test_of_two_inputs_need_names(self, write):
        path = write([node("Add", "x z")], {"x": [N, 3], "z": [N, 3]})
        with pytest.raises(ArchcalcError, match="has 2 inputs; give sizes by name: x, z"):
            from_onnx(path, (4,))
        assert from_onnx(path, {"x": (4,), "z": (4,)}).inputs_text == "x 4, z 4"

    def test_that_depend_on_values_are_refused(self, write):
        with pytest.raises(ArchcalcError, match=r"the shape that NonZero gives \(y\) is"):
            from_onnx(write([node("NonZero", "x")], {"x": [N, 3]}, types={"y": INT64}))

    def test_of_foreign_operators_are_refused(self, write):
        with pytest.raises(ArchcalcError, match=r"the shape that own\.Fancy gives \(y\) is"):
            from_onnx(write([node("Fancy", "x", domain="own")], {"x": [N, 3]}))


class TestBadFiles:
    def test_each_is_one_clear_error(self, tmp_path, write):
        good = write(NODES, {"x": [N, 3, 8, 8]}, STORED).read_bytes()
        path = tmp_path / "bad.onnx"
        for content, words in (
            (good[: len(good) // 2], "is no ONNX file, or only a part of one"),
            (b"", "has no network"),
            (b"input: [3, 8, 8]", "is no ONNX file"),
            (b"\x80\x02}q\x00.", "is no ONNX file"),
        ):
            path.write_bytes(content)
            with pytest.raises(ArchcalcError, match=words) as error:
                from_onnx(path)
            assert str(error.value).startswith(f"{path}: ")

    def test_a_missing_file_and_a_folder(self, tmp_path):
        for path in (tmp_path / "missing.onnx", tmp_path):
            with pytest.raises(ArchcalcError, match=str(path)):
                from_onnx(path)

    def test_a_file_of_2_gb_is_not_read(self, tmp_path):
        path = tmp_path / "large.onnx"
        with path.open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(ArchcalcError, match="larger than 2 GB"):
            from_onnx(path)

    def test_a_cycle(self, write):
        path = write([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b")], {"x": [N, 3]})
        with pytest.raises(ArchcalcError, match="reads b, which nothing before it makes"):
            from_onnx(path)

    def test_numbers_that_grow_without_end_are_not_computed(self, write):
        """Each of these would have more values than a machine holds, or divide by zero."""
        growing = [node("Concat", " ".join([one] * 1000), into, axis=0) for one, into in ("ab", "bc", "cs")]
        scalars = [
            onnx.helper.make_tensor(key, INT64, [], [value]) for key, value in (("o", 0), ("n", 2**62), ("i", 1))
        ]
        stored = [*numbers(a=[1] * 4000, z=[0], w=[2**40, 2**40]), *scalars]
        for nodes in (growing, [node("Range", "o n i", "s")], [node("Div", "a z", "s")],
                      [node("Expand", "z w", "s")], [node("ConstantOfShape", "w", "s")]):  # fmt: skip
            with pytest.raises(ArchcalcError, match=r"the shape that Reshape gives|its shapes do not fit"):
                from_onnx(write([*nodes, node("Reshape", "x s")], {"x": [N, 3]}, stored))

    def test_a_name_that_is_no_text(self, write):
        path = write([node("Relu", "x", "inner"), node("Relu", "inner")], {"x": [N, 3]})
        path.write_bytes(path.read_bytes().replace(b"inner", b"inn\xff\xff"))
        with pytest.raises(ArchcalcError, match="has names that are no text in UTF-8"):
            from_onnx(path)

    def test_a_node_with_fewer_tensors_than_it_needs_is_not_ours(self, write):
        path = write([node("BatchNormalization", "x s")], {"x": [N, 4, 8, 8]}, weights(s=[4]))
        assert from_onnx(path).nodes[1].op.name == "onnx::BatchNormalization"

    def test_an_input_without_axes(self, write):
        assert from_onnx(write([node("Relu", "x")], {"x": []})).nodes[1].op.name == "relu"

    def test_weights_in_other_files_are_not_read(self, write):
        stored = weights(w=[4, 3, 3, 3])
        stored[0].ClearField("float_data")
        stored[0].data_location = 1
        stored[0].external_data.add(key="location", value="../../../etc/passwd")
        graph = from_onnx(write([node("Conv", "x w")], {"x": [N, 3, 8, 8]}, stored))
        assert analyze(graph).totals.params == 108

    def test_too_few_bytes_of_a_tensor(self, write):
        stored = numbers(s=[0, -1])
        stored[0].ClearField("int64_data")
        stored[0].raw_data = b"\x00"
        with pytest.raises(ArchcalcError):
            from_onnx(write([node("Reshape", "x s")], {"x": [N, 3, 8]}, stored))

    def test_functions_of_its_own_are_refused_with_what_writes_them_out(self, write):
        """Functions that call each other can stand for more nodes than a machine holds."""
        opsets = [onnx.helper.make_opsetid("", 20)]
        own = onnx.helper.make_function(
            "own", "Twice", ["x"], ["y"], [node("Relu", "x", "a"), node("Relu", "a")], opsets
        )
        path = write([node("Twice", "x", domain="own")], {"x": [N, 3]}, functions=[own])
        with pytest.raises(ArchcalcError, match=r"functions of its own \(Twice\); write them out: onnx.save") as error:
            from_onnx(path)
        a, b = str(path), str(path.with_name("written.onnx"))
        exec(str(error.value).partition("write them out: ")[2], {"onnx": __import__("onnx.inliner"), "a": a, "b": b})
        assert [one.op.name for one in from_onnx(b).nodes] == ["input", "relu", "relu"]

    def test_endless_nodes_are_refused(self, write):
        nodes = [node("Relu", "x")] * 100_001
        with pytest.raises(ArchcalcError, match="has more than 100,000 nodes"):
            from_onnx(write(nodes, {"x": [N, 3]}))


def test_an_onnx_file_needs_no_torch_and_a_spec_no_onnx(write):
    path = write(NODES, {"x": [N, 3, 8, 8]}, STORED)
    code = f"from archcalc.importers.onnx_file import from_onnx\nfrom_onnx({str(path)!r})"
    assert "onnx" in imported_by(code)
    assert "torch" not in imported_by(code)
    assert "onnx" not in imported_by("from archcalc import analyze, load\nanalyze(load('vgg16'))")


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ArchcalcError, match=r"an ONNX file needs the package onnx: pip install 'archcalc\[onnx\]'"):
        from_onnx(tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dynamo"), [("resnet20", True), ("resnet20", False), ("squeezenet1.1", False)])
def test_files_of_pytorch_have_the_figures_of_the_spec(tmp_path, name, dynamo):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    from archcalc.pytorch import build

    graph, path = load(name), tmp_path / "network.onnx"
    module = build(graph).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
        more = {"external_data": False, "verbose": False} if dynamo else {}
        torch.onnx.export(module, (torch.rand(1, *graph.input),), path, dynamo=dynamo, **more)
    found = analyze(from_onnx(path)).totals
    folded = analyze(fold_batchnorm(graph)).totals
    assert (found.macs, found.params) == (folded.macs, folded.params)
