"""Names in the source: of classes, attributes and variables."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from itertools import count

# What a module has by itself; an attribute of that name would hide it.
MODULE = frozenset((
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu",
    "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
    "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad",
    # of Sequential
    "append", "extend", "insert", "pop",
))  # fmt: skip
# Words that papers do not write as capitalising would have it, `net` at the end apart.
WORDS = {
    word.lower(): word
    for word in ("BC", "BN", "GoogLeNet", "MLPConv", "NiN", "PreResNet", "ReLU", "ResNeXt", "VGG", "WRN", "ZFNet")
}
VARIABLES = frozenset(("self", "torch", "nn", "sum", "len", "tuple", "super", "in_channels", "branch", "x"))
THREADED = re.compile(r"(channels|blocks)\d*")  # what it calls its own


def identifier(label: str, prefix: str) -> str:
    """A label as a name: `3a` of an inception becomes `inception3a`."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", label).strip("_")
    if not text or text[0].isdigit():
        text = f"{prefix}{'_' if prefix[-1].isdigit() else ''}{text}"
    return f"{text}_" if keyword.iskeyword(text) or text in MODULE else text


def numbered(text: str, taken: Collection[str]) -> str:
    """A name, with the first number behind it that makes it a new one where it is taken."""
    between = "_" if text[-1].isdigit() else ""
    return text if text not in taken else next(made for n in count(2) if (made := f"{text}{between}{n}") not in taken)


def class_name(text: str) -> str:
    """`conv_bn` as `ConvBN`, `resnet50` as `ResNet50`; numbers that would run together stay apart: `WRN28_10`."""
    words = re.split(r"[^A-Za-z0-9]+", text)
    made = re.sub(r"(?<=\d) (?=\d)", "_", " ".join(map(_capitalised, words))).replace(" ", "")
    return made if made[:1].isalpha() and not keyword.iskeyword(made) else f"Net{made}"


def _capitalised(word: str) -> str:
    letters = re.match("[A-Za-z]*", word)[0]  # type: ignore[index]  # it matches anything
    spelled = WORDS.get(letters.lower()) or re.sub("(?<=[a-z])net$", "Net", letters[:1].upper() + letters[1:])
    return spelled + word[len(letters) :]


class Names:
    """Python's names for a spec's: the same, but for those that would hide what the source needs."""

    def __init__(self, taken: Collection[str]) -> None:
        self.taken = {*taken}
        self.known: dict[tuple[str, bool], str] = {}

    def python(self, own: str, hides: bool = False) -> str:
        """The Python name of a param, parameter or loop's name; classes begin with another letter."""
        key = own, hides
        if key not in self.known:
            fits = own[0].islower() and own not in VARIABLES and own == own.strip("_") and not hides
            self.known[key] = own if fits else numbered(f"{own.strip('_') or 'value'}_", self.taken)
            self.taken.add(self.known[key])
        return self.known[key]

    def loop(self, own: str, visible: Collection[str]) -> str:
        """The Python name of a loop's name: it hides no other, and no variable that keeps count of channels."""
        made = self.python(own)
        return self.python(own, True) if made in visible or THREADED.fullmatch(made) else made
