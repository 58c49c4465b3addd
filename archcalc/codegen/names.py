"""Names of classes, attributes and variables in the source."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from itertools import count

# Attributes of nn.Module, and names that begin like them; an attribute of that name would hide the module's.
MODULE = re.compile(
    r"(add|call|dump|extra|get|load|named|register|requires|set|share|state|to|zero)_[a-z_]+|T_destination|append|apply"
    "|bfloat16|buffers|children|compile|cpu|cuda|double|eval|extend|float|forward|half|insert|ipu|modules|mtia"
    "|parameters|pop|to|train|training|type|xpu"
)
# Words that papers do not write with only the first letter as a capital; `net` at the end is a rule of its own.
WORDS = ("BC", "BN", "GoogLeNet", "MLPConv", "NiN", "PreResNet", "ReLU", "ResNeXt", "VGG", "WRN", "ZFNet")
VARIABLES = frozenset(("self", "torch", "nn", "sum", "len", "tuple", "super", "in_channels", "branch", "x"))


def identifier(label: str, prefix: str) -> str:
    """Turn a label into a name: `3a` of an inception becomes `inception3a`."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", label).strip("_")
    if not text or text[0].isdigit():
        text = f"{prefix}{'_' if prefix[-1].isdigit() else ''}{text}"
    return f"{text}_" if keyword.iskeyword(text) or MODULE.fullmatch(text) else text


def numbered(text: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: if necessary with the first number after it that makes it new."""
    between = "_" if text[-1].isdigit() else ""
    return text if text not in taken else next(made for n in count(2) if (made := f"{text}{between}{n}") not in taken)


def class_name(text: str) -> str:
    """Turn `conv_bn` into `ConvBN`, `resnet50` into `ResNet50`; numbers side by side stay separate: `WRN28_10`."""
    words = re.split(r"[^A-Za-z0-9]+", text)
    made = re.sub(r"(?<=\d) (?=\d)", "_", " ".join(map(_capitalised, words))).replace(" ", "")
    return made if made[:1].isalpha() and not keyword.iskeyword(made) else f"Net{made}"


def _capitalised(word: str) -> str:
    letters = re.match("[A-Za-z]*", word)[0]  # type: ignore[index]  # it matches anything
    spelled = [own for own in WORDS if own.lower() == letters.lower()]
    spelled += [re.sub("(?<=[a-z])net$", "Net", letters[:1].upper() + letters[1:])]
    return spelled[0] + word[len(letters) :]


class PythonNames:
    """Python names for the names of a spec: the same, except those that would hide what the source needs."""

    def __init__(self, taken: Collection[str]) -> None:
        self.taken = {*taken}
        self.known: dict[tuple[str, bool], str] = {}

    def python(self, own: str, hides: bool = False) -> str:
        """Return the Python name of a param, parameter or loop's name."""
        key = own, hides
        if key not in self.known:
            fits = own[0].islower() and own not in VARIABLES and own == own.strip("_") and not hides
            self.known[key] = own if fits else numbered(f"{own.strip('_') or 'value'}_", self.taken)
            self.taken.add(self.known[key])
        return self.known[key]

    def loop(self, own: str, visible: Collection[str]) -> str:
        """Return the Python name of a loop's name; it does not hide another name, or a variable with channels."""
        made = self.python(own)
        return self.python(own, True) if made in visible or made.startswith(("channels", "blocks")) else made


def channels_of(tensor: str) -> str:
    """Return the name of a class's argument with the channels of a tensor that `forward` takes."""
    return f"{tensor}_channels"
