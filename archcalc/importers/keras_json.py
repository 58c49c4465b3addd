"""Translate a Keras model (the `to_json()` of Keras 2 or 3) to the text of a spec. Labels are its layers' names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from archcalc.errors import SpecError, shorten
from archcalc.importers.keras_layers import JOINS, LAYERS, Layer
from archcalc.importers.spec_writer import SpecWriter, call

CONSTANTS = "The numbers of Normalization, and of Rescaling by channel, are not written here: 1 stands for each."
STATISTICS = "Keras counts the running statistics of batch normalization among its params, as not trainable."
ORDER = {"query": 0, "value": 1, "key": 2}
MODELS = ("Sequential", "Functional", "Model")
MAX_DEPTH, MAX_PASSES = 8, 50
MAX_AXES = 2**31


def keras_spec(text: str, file: str, name: str) -> str:
    """Translate a model, called `file` in errors, to a spec called `name`. Raises SpecError with the layer's name."""
    try:
        model = json.loads(text)
    except RecursionError:
        raise SpecError(f"{file}: its lists are nested too deeply") from None
    except ValueError as error:
        raise SpecError(f"{file}: not JSON: {error}") from None
    writer = SpecWriter(name, f"{file}, for Keras")
    try:
        _Model(writer, model, "", 0).translate()
    except SpecError as error:
        raise SpecError(f"{file}: {error.message}", error.place, error.hint) from None
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        raise SpecError(
            f"{file}: not a model as Keras writes it: {type(error).__name__} {shorten(str(error))}"
        ) from None
    return writer.text()


class _Model:
    """A model, perhaps inside another one, whose name is the `prefix` of its labels."""

    def __init__(self, writer: SpecWriter, model: dict[str, Any], prefix: str, depth: int) -> None:
        if depth > MAX_DEPTH or model["class_name"] not in MODELS:
            raise SpecError(f"a {shorten(str(model['class_name']))} has no operator here")
        self.writer, self.prefix, self.depth = writer, prefix, depth
        self.sequential = model["class_name"] == "Sequential"
        self.config = model["config"]
        self.layers = self.config if isinstance(self.config, list) else self.config["layers"]
        self.first: dict[str, Any] = self.config if isinstance(self.config, dict) else {}
        self.made: dict[tuple[str, int], tuple[str, str]] = {}  # label and kind by layer and its call

    def translate(self, inputs: tuple[tuple[str, str], ...] = ()) -> tuple[str, str]:
        """Add all layers; return the label and kind of the first output. `inputs` are those of a model inside."""
        given = list(inputs)
        if self.sequential:
            return self.chain(given)
        waiting = [call for layer in self.layers for call in self.calls(layer, given)]
        for _ in range(MAX_PASSES):
            later = [call for call in waiting if not self.ready(call)]
            if not later or len(later) == len(waiting):
                break
            waiting = later
        if later:
            raise SpecError(f"{shorten(later[0][1])} reads a layer that nothing makes")
        outputs = self.config["output_layers"]
        outputs = outputs if isinstance(outputs[0], list) else [outputs]
        ends = {str(name): self.made[name, index] for name, index, _ in outputs}
        if not self.prefix:
            self.writer.results |= {self.labelled(name): label for name, (label, _) in ends.items()}
        return next(iter(ends.values()))

    def labelled(self, name: str) -> str:
        return next((label for (own, _), (label, _) in self.made.items() if own == name), name)

    def chain(self, given: list[tuple[str, str]]) -> tuple[str, str]:
        last = given[0] if given else None
        for number, layer in enumerate(self.layers):
            name = str(layer["config"].get("name", f"layer{number}"))
            shape = _shape(layer["config"]) or (not number and (layer.get("build_config") or {}).get("input_shape"))
            if last is None:
                shape = shape or self.first.get("build_input_shape")
                last = self.input("input" if layer["class_name"] != "InputLayer" else name, shape)
            if layer["class_name"] != "InputLayer":
                last = self.layer(layer, name, [last])
        if last is None:
            raise SpecError("the model has no layers")
        return last

    def calls(
        self, layer: dict[str, Any], given: list[tuple[str, str]]
    ) -> Iterator[tuple[dict[str, Any], str, int, Any]]:
        """Yield the calls of a layer: the layer, its name, the number of the call, and what it reads."""
        name = str(layer.get("name") or layer["config"]["name"])
        if layer["class_name"] == "InputLayer":
            self.made[name, 0] = given.pop(0) if given else self.input(name, _shape(layer["config"]))
            return
        for number, node in enumerate(layer["inbound_nodes"]):
            named = node.get("kwargs", {}) if isinstance(node, dict) else _named_of_keras_2(node[0])
            asked = {"causal": named.get("use_causal_mask"), "mask": named.get("attention_mask")}
            yield layer | asked, name, number, [*_tensors(node, 0)]

    def ready(self, call: tuple[dict[str, Any], str, int, Any]) -> bool:
        """Add a call if what it reads is there; return whether."""
        layer, name, number, tensors = call
        if not tensors:
            raise SpecError(f"{shorten(name)} reads no layer")
        if any(tensor not in self.made for tensor in tensors):
            return False
        reads = [self.made[tensor] for tensor in tensors]
        if number and layer["class_name"] not in JOINS:
            label, kind = self.made.get((name, 0), ("", ""))
            if not label or layer["class_name"] in MODELS:
                raise SpecError(f"{shorten(name)} is called again, which has no operator here")
            self.made[name, number] = self.writer.step(name, [reads[0][0]], f"again({label})"), kind
            return True
        self.made[name, number] = self.layer(layer, name, reads)
        return True

    def layer(self, layer: dict[str, Any], name: str, reads: list[tuple[str, str]]) -> tuple[str, str]:
        """Add a layer; return its label and the kind of its value."""
        kind, own = str(layer["class_name"]), f"{self.prefix}{name}"
        if kind in MODELS:
            return _Model(self.writer, layer, f"{own}_", self.depth + 1).translate(tuple(reads))
        made = Layer(kind, shorten(name), layer["config"], reads[0][1])
        if kind in JOINS:
            labels = [label for label, _ in reads]
            return self.writer.step(own, labels, *[JOINS[kind]] * (len(labels) > 1)), reads[0][1]
        if kind == "MultiHeadAttention":
            return self.attention(layer, made, own, [label for label, _ in reads]), reads[0][1]
        if kind not in LAYERS:
            made.refuse("this layer has no operator here")
        if len(reads) > 1 and kind != "Concatenate":
            made.refuse("with several inputs it has no operator here")
        layers, after = LAYERS[kind](made)
        self.writer.note(STATISTICS if kind == "BatchNormalization" else CONSTANTS * ("value=1)" in "".join(layers)))
        return self.writer.step(own, [label for label, _ in reads], *layers), after

    def attention(self, layer: dict[str, Any], made: Layer, name: str, reads: list[str]) -> str:
        """Add linear layers for query, key and value, the attention between them, and a linear layer after it."""
        heads, size = made.whole("num_heads"), made.whole("key_dim")
        shapes = (layer.get("build_config") or {}).get("shapes_dict") or {}
        out = made.config.get("output_shape") or shapes.get("query_shape", [None])[-1]
        if made.reads != "tokens" or made.config.get("value_dim") not in (None, size) or made.config.get("use_gate"):
            made.refuse("it needs tokens, a value_dim equal to key_dim, and no gate")
        if layer.get("mask") is not None:
            made.refuse("a mask has no operator here")
        if not isinstance(out, int) or made.config.get("attention_axes") not in (None, [1]):
            made.refuse("it needs its output's size, and to attend along one axis")
        query, value, key = reads if len(reads) > 2 else [reads[0], reads[-1], reads[-1]]
        bias = made.flag("use_bias", True)
        parts = [
            self.writer.step(f"{name}_{part}", [read], call("linear", heads * size, bias=bias))
            for part, read in (("query", query), ("key", key), ("value", value))
        ]
        join = call("attention", num_heads=heads, causal=bool(layer.get("causal")), dropout=made.real("dropout", 0))
        return self.writer.step(name, parts, join, call("linear", out, bias=bias))

    def input(self, name: str, shape: Any) -> tuple[str, str]:
        """Add an input of the network, with its channels first."""
        sizes = shape[1:] if isinstance(shape, list) else []
        if not sizes or not all(isinstance(size, int) and 0 < size <= MAX_AXES for size in sizes):
            raise SpecError(f"the input {shorten(name)} has the shape {shorten(repr(shape))}; each size must be known")
        classes = {str(layer["class_name"]) for layer in self.layers}
        first = any(
            isinstance(layer["config"], dict) and layer["config"].get("data_format") == "channels_first"
            for layer in self.layers
        )
        *places, channels = [*sizes[1:], sizes[0]] if first else sizes
        if not places:
            tokens = "Embedding" in classes
            return self.writer.input(name, {"T": channels} if tokens else [channels]), "ids" if tokens else "vector"
        if len(places) == 1:
            line = any(kind.endswith(("1D", "1DTranspose")) and not kind.startswith("Global") for kind in classes)
            axes = {"C": channels, "L": places[0]} if line else {"T": places[0], "C": channels}
            return self.writer.input(name, axes), "map" if line else "tokens"
        named = dict(zip("CDHW", [channels, *places], strict=False)) if len(places) == 3 else [channels, *places]
        return self.writer.input(name, named), "map"


def _shape(config: dict[str, Any]) -> Any:
    return config.get("batch_shape") or config.get("batch_input_shape")


def _named_of_keras_2(node: list[Any]) -> dict[str, Any]:
    """Return what a call of Keras 2 passes by name."""
    return node[3] if len(node) > 3 and isinstance(node[3], dict) else {}


def _in_order(named: dict[str, Any]) -> list[Any]:
    """Return what a call passes by name, attention's arguments in their order."""
    return [named[key] for key in sorted(named, key=lambda key: ORDER.get(key, 3))]


def _tensors(node: Any, depth: int) -> Iterator[tuple[str, int]]:
    """Yield what a call reads, as layers and the numbers of their calls, in the form of Keras 2 or 3."""
    if depth > MAX_DEPTH:
        raise SpecError("a call is nested too deep")
    if isinstance(node, dict):
        history = node["config"]["keras_history"] if node.get("class_name") == "__keras_tensor__" else None
        if history:
            yield str(history[0]), int(history[1])
        for item in [*node.get("args", []), *_in_order(node.get("kwargs", {}))] if not history else []:
            yield from _tensors(item, depth + 1)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str):
            yield node[0], int(node[1])
            for item in _in_order(_named_of_keras_2(node)):
                yield from _tensors(item, depth + 1)
        else:
            for item in node:
                yield from _tensors(item, depth + 1)
