"""Files of other programs that already list their layers: translate each kind to the text of a spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from archcalc.errors import SpecError
from archcalc.importers.caffe import caffe_spec
from archcalc.importers.darknet import darknet_spec
from archcalc.importers.keras_json import keras_spec
from archcalc.importers.ultralytics import ultralytics_spec
from archcalc.spec.foreign_files import kind_of
from archcalc.spec.network_spec import SUFFIXES
from archcalc.spec.yaml import read_text

SCALED = "a YOLO model configuration"
DECLARED: dict[str, Callable[[str, str, str], str]] = {  # by what `kind_of` calls the file
    "a Caffe network": caffe_spec,
    "a Darknet configuration": darknet_spec,
    "a Keras network": keras_spec,
    SCALED: ultralytics_spec,
}


OF_FILES = (*SUFFIXES, ".cfg", ".prototxt", ".json", ".pt", ".pth")  # a name that ends so is a file's, or an error


def is_declared(path: Path) -> bool:
    """Whether `declared_spec` can translate a file, by its first bytes."""
    return kind_of(path) in DECLARED


def declared_spec(path: Path, shown: str, part: str = "") -> str:
    """Translate a file, called `shown` in errors, to a spec with its name; `part` is a scale of a YOLO model.

    Raises SpecError with the place in the file.
    """
    kind = kind_of(path)
    if kind == SCALED:
        return ultralytics_spec(read_text(path), shown, path.stem, part)
    if part:
        raise SpecError(f"{shown} has one network; leave out :{part}")
    return DECLARED[kind](read_text(path), shown, path.stem)
