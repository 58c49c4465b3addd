"""Translate a YOLO model as Ultralytics describes it (`[from, repeats, module, args]`) to the text of a spec.

The blocks are in `ultralytics_blocks.yaml`; those of a network are copied into its spec. Row 12 is the step `n12_c3k2`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from archcalc.errors import SpecError, shorten
from archcalc.importers.spec_writer import SpecWriter
from archcalc.importers.ultralytics_modules import HEADS, MAX_REPEATS, MAX_SIZE, MODULES, Row, Scaled
from archcalc.spec.yaml import Mapping, Scalar, Sequence, Value, parse_yaml

ACTIVATIONS = {"SiLU": "silu", "ReLU": "relu", "ReLU6": "relu6", "Hardswish": "hardswish", "Mish": "mish"}
UNFUSED = "Convolutions and batch normalizations are separate, as in training; --fold-bn merges them."
MAX_ROWS = 1_000


def ultralytics_spec(text: str, file: str, name: str, part: str = "") -> str:
    """Translate a model, called `file` in errors, at the scale `part`, to a spec called `name`.

    Without a scale it is the file's own `scale`, that of the name, such as s of yolov8s, or the first. Raises SpecError
    with its line.
    """
    return _Translation(parse_yaml(text, file), file, name, part).text()


def _scaled_name(name: str, scale: str) -> str:
    """Return `yolo11s-seg` for `yolo11-seg` and s."""
    named = re.sub(r"(?<=yolo)((?:e-)?v?\d+)[nslmx]?(?=\W|$)", rf"\g<1>{scale}", name)
    return named if not scale or named != name or name.endswith(scale) else f"{name}-{scale}"


def _plain(value: Value | None) -> Any:
    """Return a value of YAML as Python's numbers, texts, lists and dicts."""
    if isinstance(value, Sequence):
        return [_plain(item) for item in value.items]
    if isinstance(value, Mapping):
        return {key.text: _plain(item) for key, item in value.entries}
    text = value.text if isinstance(value, Scalar) else ""
    if re.fullmatch(r"-?\d{1,12}", text):
        return int(text)
    if re.fullmatch(r"-?\d{1,12}\.\d{0,12}", text):
        return float(text)
    return {"True": True, "true": True, "False": False, "false": False, "None": None, "": None}.get(text, text)


class _Translation:
    def __init__(self, root: Value, file: str, name: str, scale: str) -> None:
        self.root, self.place = root, root.place
        model = _plain(root)
        self.model: dict[str, Any] = model if isinstance(model, dict) else {}
        chosen, (self.depth, width, most) = self.scaled(name, scale)
        self.writer = SpecWriter(_scaled_name(name, chosen), f"{file}, for Ultralytics")
        if chosen and not scale:
            self.writer.notes.append(f"The scale is {chosen}; FILE:{[*self.model['scales']][-1]} selects another.")
        self.writer.notes.append(UNFUSED)
        self.net = Scaled(self.model, chosen, width, most, self.writer)
        self.classes = self.number("nc", 80)
        self.writer.params = {"classes": str(self.classes), "act": self.activation()}
        self.channels: list[int] = []
        self.labels: list[str] = []
        self.library = _library()

    def refuse(self, message: str, hint: str = "") -> Any:
        raise SpecError(message, self.place, hint)

    def number(self, key: str, default: Any) -> Any:
        value = self.model.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SIZE:
            self.refuse(f"{key}: {shorten(repr(value))} is not a number that fits")
        return value

    def scaled(self, name: str, scale: str) -> tuple[str, tuple[float, float, float]]:
        scales = self.model.get("scales")
        if not isinstance(scales, dict) or not scales:
            if scale:
                self.refuse(f"the file has no scales; leave out :{scale}")
            return "", (self.number("depth_multiple", 1.0), self.number("width_multiple", 1.0), MAX_SIZE)
        guessed = re.search(r"yolo(?:e-)?v?\d+([nslmx])", name)
        named = guessed[1] if guessed and guessed[1] in scales else next(iter(scales))
        chosen = scale or str(self.model.get("scale") or named)
        factors = scales.get(chosen)
        if not isinstance(factors, list):
            raise SpecError(f"no scale {shorten(repr(chosen))}", self.place, f"known: {', '.join(scales)}")
        if len(factors) != 3 or not all(isinstance(f, int | float) and 0 < f <= MAX_SIZE for f in factors):
            self.refuse(f"the scale {chosen} needs depth, width and the most channels")
        return chosen, (factors[0], factors[1], factors[2])

    def activation(self) -> str:
        written = str(self.model.get("activation") or "nn.SiLU()")
        found = re.fullmatch(r"(?:torch\.)?(?:nn\.)?(\w+)\((?:inplace=True)?\)", written)
        leaky = re.fullmatch(r"(?:torch\.)?nn\.LeakyReLU\((0?\.\d+)\)", written)
        if leaky:
            self.writer.blocks["leaky"] = [f"    - leaky_relu({float(leaky[1])})"]
            return "leaky"
        known = ACTIVATIONS.get(found[1]) if found else None
        return known or self.refuse(f"the activation {shorten(written)} has no operator here")

    def text(self) -> str:
        rows = [*self.rows("backbone", 0)]
        rows += self.rows("head", len(rows))
        channels = self.number("ch", self.number("channels", 3))
        data = self.writer.input("images", (channels, 640, 640))
        if not rows or len(rows) > MAX_ROWS:
            self.refuse(f"{len(rows)} rows; a model has 1 to {MAX_ROWS:,}")
        for row in rows:
            sources = [number + row.number * (number < 0) for number in row.reads]
            if not all(-1 <= number < row.number for number in sources) or (row.number and -1 in sources):
                row.refuse(f"it reads {row.reads}, which are not all rows before it")
            reads = [self.labels[number] if number >= 0 else data for number in sources]
            inputs = [self.channels[number] if number >= 0 else channels for number in sources]
            if row.module not in MODULES and row.module not in HEADS:
                row.refuse("this module has no operator here")
            if row.module in HEADS:
                HEADS[row.module](self.net, row, reads, inputs)
                self.labels.append(reads[0])
                self.channels.append(inputs[0])
                continue
            made, outputs = MODULES[row.module](self.net, row, inputs)
            kind = row.module.split(".")[-1].lower()
            self.labels.append(self.writer.step(f"n{row.number}_{kind}", reads, made))
            self.channels.append(outputs)
        self.add_blocks()
        return self.writer.text()

    def rows(self, key: str, start: int) -> list[Row]:
        listed = self.root.get(key) if isinstance(self.root, Mapping) else None
        items = listed.items if isinstance(listed, Sequence) else ()
        return [self.row(number, item) for number, item in enumerate(items, start)]

    def row(self, number: int, item: Value) -> Row:
        written = _plain(item)
        if not isinstance(written, list) or len(written) != 4 or not isinstance(written[3], list):
            raise SpecError(f"row {number} is not [from, repeats, module, args]", item.place)
        reads, repeats, module, args = written
        reads = reads if isinstance(reads, list) else [reads]
        row = Row(number, reads, repeats, str(module), [self.known(arg) for arg in args], item.place)
        if not reads or not all(isinstance(i, int) and abs(i) <= MAX_ROWS for i in reads):
            row.refuse("it needs the numbers of rows to read")
        if not isinstance(repeats, int) or not 0 < repeats <= MAX_REPEATS:
            row.refuse(f"it repeats {shorten(repr(repeats))} times")
        return row._replace(repeats=max(round(repeats * self.depth), 1) if repeats > 1 else repeats)

    def known(self, arg: Any) -> Any:
        """Return an argument, or what it names: a key of the file."""
        return self.model.get(arg, 80 if arg == "nc" else arg) if arg in ("nc", "kpt_shape", "anchors") else arg

    def add_blocks(self) -> None:
        """Copy the blocks that the steps, and blocks that these call, mention."""
        texts = [self.writer.body(), *("\n".join(lines) for lines in self.writer.blocks.values())]
        wanted = re.findall(r"[a-z]\w*", "\n".join(texts))
        chosen: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in self.library and name not in chosen:
                chosen.add(name)
                wanted += re.findall(r"[a-z]\w*", "\n".join(self.library[name]))
        own = {self.library[name][0]: self.library[name][1:] for name in self.library if name in chosen}
        self.writer.blocks = own | self.writer.blocks


def _library() -> dict[str, list[str]]:
    """Return the lines of each block, the first of which is its header without indent and colon."""
    text = Path(__file__).with_name("ultralytics_blocks.yaml").read_text(encoding="utf-8")
    found = {}
    for block in re.split(r"(?m)^  (?=\S)", text)[1:]:
        header, *lines = block.rstrip("\n").split("\n")
        found[header.split("(")[0]] = [header.removesuffix(":"), *lines]
    return found
