"""Files of other programs that already list their layers: translate each kind to the text of a spec."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

from archcalc.errors import SpecError
from archcalc.spec.network_spec import SUFFIXES
from archcalc.spec.yaml import read_text

SCALED = "a YOLO model configuration"
DECLARED = {  # by what `kind_of` calls the file: the module and function, imported when such a file is read
    "a Caffe network": ("caffe", "caffe_spec"),
    "a Darknet configuration": ("darknet", "darknet_spec"),
    "a Keras network": ("keras_json", "keras_spec"),
    SCALED: ("ultralytics", "ultralytics_spec"),
}

OF_FILES = (*SUFFIXES, ".cfg", ".prototxt", ".json", ".pt", ".pth")  # a name that ends so is a file's, or an error


def is_declared(path: str) -> bool:
    """Whether `declared_spec` can translate a file, by its first bytes."""
    from archcalc.spec.foreign_files import kind_of  # a spec does not need it

    return kind_of(path) in DECLARED


def declared_spec(path: str, shown: str, part: str = "") -> str:
    """Translate a file, called `shown` in errors, to a spec with its name; `part` is a scale of a YOLO model.

    Raises SpecError with the place in the file.
    """
    from archcalc.spec.foreign_files import kind_of

    kind = kind_of(path)
    module, name = DECLARED[kind]
    if part and kind != SCALED:
        raise SpecError(f"{shown} has one network; leave out :{part}")
    translate: Callable[..., str] = getattr(import_module(f"archcalc.importers.{module}"), name)
    stem = os.path.splitext(os.path.basename(path))[0]
    return translate(read_text(path), shown, stem, *[part] * (kind == SCALED))
