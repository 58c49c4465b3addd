"""Keras models as JSON, in the forms of Keras 2 and 3: networks by hand, layer by layer, and what is refused."""

import json
import re

import pytest
from support.fresh_python import imported_by

from archcalc import ArchcalcError, analyze, load, parse
from archcalc.importers.keras_json import keras_spec


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(shape, *layers):
    first = layer("InputLayer", "image", batch_shape=[None, *shape])
    return json.dumps({"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}})


def tensor(name, node=0):
    return {"class_name": "__keras_tensor__", "config": {"shape": [None], "keras_history": [name, node, 0]}}


def functional(shape, *calls, ends=None, old=False, kind="Functional"):
    """Calls are `(layer, [names, …])`, with names for each call of the layer; `old` is the form of Keras 2."""
    first = layer("InputLayer", "image", **{"batch_input_shape" if old else "batch_shape": [None, *shape]})
    layers = [{**first, "name": "image", "inbound_nodes": []}]
    for own, *reads in calls:
        nodes = []
        for names in reads:
            if old:
                nodes.append([[name, 0, 0, {}] for name in names])
            else:
                made = [tensor(*name.split(":")[:1], *map(int, name.split(":")[1:])) for name in names]
                nodes.append({"args": [made if len(made) > 1 else made[0]], "kwargs": {}})
        layers.append({**own, "name": own["config"]["name"], "inbound_nodes": nodes})
    ends = ends or [[layers[-1]["name"], 0, 0]]
    config = {"name": "net", "layers": layers, "input_layers": [["image", 0, 0]], "output_layers": ends}
    return json.dumps({"class_name": kind, "config": config})


def translated(text):
    return parse(keras_spec(text, "model.json", "model"))


def conv(name, filters, size, **more):
    return layer("Conv2D", name, filters=filters, kernel_size=[size, size], use_bias=True, **more)


def dense(name, units, **more):
    return layer("Dense", name, units=units, use_bias=True, **more)


SMALL = (
    conv("one", 32, 3, activation="relu"), layer("MaxPooling2D", "pool", pool_size=[2, 2], strides=[2, 2]),
    conv("two", 64, 3, activation="relu", padding="same", strides=[2, 2]), layer("Flatten", "flat"),
    layer("Dropout", "drop", rate=0.5), dense("out", 10, activation="softmax"),
)  # fmt: skip


def test_a_sequential_model_by_hand():
    graph = translated(sequential([28, 28, 1], *SMALL))
    totals = analyze(graph).totals
    assert totals.params == 32 * 10 + 64 * (32 * 9 + 1) + (7 * 7 * 64 + 1) * 10
    assert totals.macs == 26 * 26 * 32 * 9 + 7 * 7 * 64 * 32 * 9 + 7 * 7 * 64 * 10
    assert [node.name for node in graph.nodes][:3] == ["image", "one.conv", "one.relu"]


def test_the_shape_of_a_first_layer_without_an_input_layer():
    first = conv("one", 4, 3)
    first["config"]["batch_input_shape"] = [None, 8, 8, 3]
    assert translated(json.dumps({"class_name": "Sequential", "config": [first]})).input.text == "3×8×8"
    config = {"layers": [conv("one", 4, 3)], "build_input_shape": [None, 8, 8, 3]}
    assert translated(json.dumps({"class_name": "Sequential", "config": config})).input.text == "3×8×8"


def residual(old):
    unit = layer("BatchNormalization", "norm", epsilon=1e-3, momentum=0.99)
    calls = [(conv("a", 8, 3, padding="same"), ["image"]), (unit, ["a"]), (layer("ReLU", "act"), ["norm"])]
    calls += [(conv("b", 8, 1), ["image"]), (layer("Add", "sum"), ["act", "b"])]
    calls += [(layer("GlobalAveragePooling2D", "mean"), ["sum"]), (dense("out", 5), ["mean"])]
    return functional([16, 16, 3], *calls, old=old, kind="Model" if old else "Functional")


@pytest.mark.parametrize("old", [False, True])
def test_a_functional_model_of_keras_2_or_3(old):
    graph = translated(residual(old))
    assert analyze(graph).totals.params == 8 * 28 + 16 + 8 * 4 + 45
    assert analyze(graph).totals.buffers >= 16
    assert any("running statistics" in note for note in graph.about.notes)


def test_a_layer_that_is_called_twice_shares_its_weights():
    both = (conv("a", 3, 3, padding="same"), ["image"], ["a"])
    graph = translated(functional([8, 8, 3], both, (layer("Add", "sum"), ["a", "a:1"])))
    assert analyze(graph).totals.params == 3 * 28
    assert analyze(graph).totals.macs == 2 * 8 * 8 * 3 * 27


def test_a_model_inside_a_model():
    inner = json.loads(sequential([8, 8, 3], conv("one", 4, 3)))
    inner["config"]["name"] = "inner"
    graph = translated(functional([8, 8, 3], (inner, ["image"]), (conv("last", 2, 1), ["inner"])))
    assert [node.name for node in graph.nodes] == ["image", "inner_one", "last"]


def test_several_outputs():
    ends = [["a", 0, 0], ["b", 0, 0]]
    graph = translated(functional([8, 8, 3], (conv("a", 4, 1), ["image"]), (conv("b", 5, 1), ["a"]), ends=ends))
    assert graph.outputs == ("a", "b")


def test_sequences():
    gru = layer("GRU", "gru", units=8, reset_after=True, return_sequences=True)
    text = sequential([20], layer("Embedding", "table", input_dim=100, output_dim=16), gru, dense("out", 3))
    totals = analyze(translated(text)).totals
    assert totals.params == 1600 + 3 * 8 * (16 + 8 + 2) + 27
    line = sequential([20, 4], layer("Conv1D", "c", filters=6, kernel_size=[3], padding="causal", dilation_rate=[2]))
    assert analyze(translated(line)).totals.macs == 20 * 6 * 4 * 3


@pytest.mark.parametrize(
    ("own", "shape", "params"),
    [
        (conv("a", 8, 3, strides=[2, 2], padding="same"), "8×5×4", 8 * 55),
        (conv("a", 8, 3, dilation_rate=[2, 2], groups=2), "8×5×3", 8 * 28),
        (layer("DepthwiseConv2D", "a", kernel_size=[3, 3], depth_multiplier=2), "12×7×5", 12 * 10),
        (layer("SeparableConv2D", "a", kernel_size=[3, 3], filters=8), "8×7×5", 54 + 8 * 7),
        (layer("Conv2DTranspose", "a", kernel_size=[3, 3], filters=8, strides=[2, 2], padding="same"), "8×18×14", 440),
        (layer("Conv2DTranspose", "a", kernel_size=[2, 2], filters=8, strides=[3, 3]), "8×27×21", 200),
        (layer("MaxPooling2D", "a", pool_size=[3, 3], strides=[2, 2], padding="same"), "6×5×4", 0),
        (layer("MaxPooling2D", "a", pool_size=[2, 2], strides=[2, 2], padding="same"), "6×5×4", 0),
        (layer("AveragePooling2D", "a", pool_size=[3, 3], strides=[1, 1], padding="same"), "6×9×7", 0),
        (layer("BatchNormalization", "a", scale=False), "6×9×7", 6), (layer("LayerNormalization", "a"), "6×9×7", 12),
        (layer("ZeroPadding2D", "a", padding=[[1, 2], [3, 4]]), "6×12×14", 0),
        (layer("Cropping2D", "a", cropping=[[1, 2], [0, 3]]), "6×6×4", 0),
        (layer("UpSampling2D", "a", size=[2, 2], interpolation="bilinear"), "6×18×14", 0),
        (layer("Rescaling", "a", scale=0.5, offset=-1), "6×9×7", 0), (layer("LeakyReLU", "a", alpha=0.2), "6×9×7", 0),
        (layer("Reshape", "a", target_shape=[21, 3, 6]), "6×21×3", 0), (layer("ReLU", "a", max_value=6), "6×9×7", 0),
        (layer("GlobalMaxPooling2D", "a", keepdims=True), "6×1×1", 0), (dense("a", 5), "5×9×7", 35),
        (layer("Normalization", "a", axis=[-1]), "6×9×7", 0), (layer("Rescaling", "a", scale=[0.5] * 6), "6×9×7", 0),
    ],
)  # fmt: skip
def test_a_layer(own, shape, params):
    graph = translated(sequential([9, 7, 6], own))
    assert graph.nodes[graph.result].output.text == shape
    assert analyze(graph).totals.params == params


LAST = {"units": 8, "use_bias": False}
ALL = {**LAST, "return_sequences": True}


def both_ways(kind, **config):
    return layer("Bidirectional", "a", layer={"class_name": kind, "config": config}, merge_mode="concat")


@pytest.mark.parametrize(
    ("own", "shape", "params"),
    [
        (layer("LSTM", "a", **LAST), "8", 4 * 8 * (16 + 8)),
        (layer("SimpleRNN", "a", activation="relu", **ALL), "10×8 (T×C)", 8 * (16 + 8)),
        (both_ways("LSTM", **ALL), "10×16 (T×C)", 2 * 4 * 8 * (16 + 8)),
        (both_ways("GRU", **ALL | {"use_bias": True}), "10×16 (T×C)", 2 * 3 * 8 * (16 + 8 + 2)),
    ],
)
def test_a_layer_of_tokens(own, shape, params):
    graph = translated(sequential([10, 16], own))
    assert graph.nodes[graph.result].output.text == shape
    assert analyze(graph).totals.params == params


def attention(named=None, **config):
    """Attention of the tokens `a` to the input."""
    own = layer("MultiHeadAttention", "b", num_heads=4, **{"key_dim": 8, "use_bias": True, **config})
    own["build_config"] = {"shapes_dict": {"query_shape": [None, 10, 16]}}
    model = json.loads(functional([10, 12], (dense("a", 16), ["image"]), (own, ["a", "image"])))
    if named:
        reads = {"value": tensor("image"), "query": tensor("a")}
        model["config"]["layers"][-1]["inbound_nodes"] = [{"args": [], "kwargs": reads | named}]
    return json.dumps(model)


def test_attention_has_sizes_of_its_own():
    graph = translated(attention())
    assert analyze(graph).totals.params == 13 * 16 + 17 * 32 + 2 * 13 * 32 + 33 * 16
    wide = translated(attention(key_dim=2, output_shape=5, use_bias=False))
    assert analyze(wide).totals.params == 13 * 16 + 16 * 8 + 2 * 12 * 8 + 8 * 5


def test_attention_by_name():
    text = keras_spec(attention({"use_causal_mask": True}), "m.json", "m")
    assert "attention(use(b_query), use(b_key), use(b_value), num_heads=4, causal=True)" in text
    assert "- b_key: use(image) | linear(32)" in text
    assert analyze(parse(text)).totals.macs == analyze(translated(attention())).totals.macs


def test_attention_by_name_in_keras_2():
    own = layer("MultiHeadAttention", "b", num_heads=4, key_dim=8, output_shape=16)
    model = json.loads(functional([10, 12], (dense("a", 16), ["image"]), (own, ["a"]), old=True))
    model["config"]["layers"][-1]["inbound_nodes"] = [[["a", 0, 0, {"value": ["image", 0, 0]}]]]
    assert "- b_key: use(image) | linear(32)" in keras_spec(json.dumps(model), "m.json", "m")


def test_numbers_that_are_not_written_are_noted():
    assert "1 stands for each" in keras_spec(sequential([9, 7, 6], layer("Normalization", "a")), "m.json", "m")
    plain = keras_spec(sequential([9, 7, 6], layer("Rescaling", "a", scale=0.5)), "m.json", "m")
    assert "1 stands for each" not in plain


@pytest.mark.parametrize("length", [8, 9])
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (5, 3), (3, 1)])
def test_same_pools_have_as_many_places_as_their_stride_says(length, size, stride):
    pool = layer("MaxPooling2D", "a", pool_size=[size, size], strides=[stride, stride], padding="same")
    graph = translated(sequential([length, length, 1], pool))
    assert graph.nodes[graph.result].output[1] == -(-length // stride)


@pytest.mark.slow
def test_pytorch_agrees():
    pytest.importorskip("torch")
    from archcalc.pytorch.validation import validate

    for text in (sequential([28, 28, 1], *SMALL), residual(False)):
        assert not validate(translated(text), device="meta").problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (sequential([8, 8, 3], layer("Lambda", "a")), "a (Lambda): this layer has no operator here"),
        (sequential([8, 8, 3], conv("a", "many", 3)), "a (Conv2D): filters: 'many' is not a whole number that fits"),
        (sequential([8, 8, 3], conv("a", 10**30, 3)), "a (Conv2D): filters: 1000000000000000000000000000000 is not"),
        (sequential([8, 8, 3], conv("a", 4, 3, activation="sine")), "a (Conv2D): the activation 'sine' has no"),
        (sequential([9, 4], layer("LSTM", "a", units=4)), "a (LSTM): one bias per gate has no operator here"),
        (sequential([9, 4], both_ways("GRU", **LAST)), "a (Bidirectional): it needs return_sequences"),
        (sequential([9, 4], both_ways("Conv1D", filters=3)), "a (Bidirectional): only GRU, LSTM and SimpleRNN"),
        (attention({"attention_mask": tensor("image")}), "b (MultiHeadAttention): a mask has no operator here"),
        (sequential([8, 8, 3], conv("a", 4, 3, padding="full")), "a (Conv2D): its padding is unknown"),
        (attention(value_dim=3), "b (MultiHeadAttention): it needs tokens, a value_dim equal to key_dim"),
        (sequential([None, 8, 3], conv("a", 4, 3)), "the input image has the shape [None, None, 8, 3]; each size"),
        (functional([8, 8, 3], (conv("a", 4, 3), ["b"])), "a reads a layer that nothing makes"),
        (functional([8, 8, 3], (conv("a", 4, 3), ["b"]), (conv("b", 4, 3), ["a"])), "a reads a layer that nothing"),
        ('{"class_name": "Mine", "config": {}}', "a Mine has no operator here"),
        ('{"class_name": "Functional", "config": {}}', "not a model as Keras writes it: KeyError 'layers'"),
        (residual(False).replace('["image", 0, 0]}}', '["image", NaN, 0]}}'),
         "not a model as Keras writes it: ValueError"),
        ('{"class_name": "Functional", "config": 3}', "not a model as Keras writes it: TypeError"),
        ('{"class_name": ' + "[" * 100_000, "its lists are nested"), ('{"class_name": "Functional"', "not JSON: "),
    ],
)  # fmt: skip
def test_errors_name_the_layer(text, message):
    with pytest.raises(ArchcalcError, match=re.escape(f"model.json: {message}")):
        translated(text)


def test_the_door_and_torch_stays_out(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(residual(False))
    assert load(path).name == "model"
    found = imported_by(f"import archcalc; archcalc.analyze(archcalc.load({str(path)!r}))")
    assert not {*found} - {"difflib"}  # as a spec it has an unknown key
