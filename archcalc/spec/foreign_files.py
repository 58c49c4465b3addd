"""Recognise files of other programs by suffix and first bytes, so that an error says what they are.

This never parses, executes or unpickles them.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import NamedTuple

BEGINNING = 2**14  # bytes that are searched


class Kind(NamedTuple):
    """A kind of file: its description, the suffixes of this kind only, and a pattern in its first bytes."""

    what: str
    suffixes: tuple[str, ...] = ()
    beginning: bytes = rb"(?!)"  # matches nothing


KINDS = (
    Kind("a PyTorch file", (".pt", ".pth", ".pt2", ".ckpt"), rb"(?s)\APK\x03\x04.*?/data\.pkl"),
    Kind("a pickle", (".pkl", ".pickle"), rb"\A\x80[\x02-\x05]"),
    Kind("a safetensors file with weights", (".safetensors",), rb"(?s)\A.{8}\{\""),
    Kind("an ONNX network", (".onnx",), rb"\A\x08[\x01-\x20]\x12.pytorch|\A\x08[\x01-\x20]\x12.[a-z._-]*onnx"),
    Kind("a TensorFlow Lite network", (".tflite",), rb"(?s)\A.{4}TFL3"),
    Kind("a TensorFlow graph", (".pb",)),
    Kind("a Keras file", (".keras",), rb"(?s)\APK\x03\x04.*?config\.json"),
    Kind("an HDF5 file, such as Keras writes", (".h5", ".hdf5"), rb"\A\x89HDF"),
    Kind("a Caffe file with weights", (".caffemodel",)),
    Kind("a Core ML network", (".mlmodel",)),
    Kind("a Keras network", (), rb"\A\s*\{[^\x00]*\"class_name\"\s*:"),
    Kind("a Jupyter notebook", (".ipynb",), rb"\A\s*\{[^\x00]*\"nbformat\""),
    Kind("a Darknet configuration", (), rb"(?m)^\s*\[(net|network|convolutional)\]\s*$"),
    Kind("a Caffe network", (), rb"(?m)^\s*layers?\s*\{"),
    Kind("a YOLO model configuration", (), rb"(?ms)^backbone:.*^head:"),
    Kind("Python code", (), rb"(?m)^(import|from) +[A-Za-z_][\w.]*( +(import|as) .*)?\s*$|^class +\w+.*:\s*$"),
    Kind("a zip archive", (".zip",), rb"\APK\x03\x04"),
    Kind("a gzip archive", (".gz", ".tgz"), rb"\A\x1f\x8b"),
    Kind("an image", (), rb"\A\x89PNG|\A\xff\xd8\xff|\AGIF8"),
    Kind("a PDF document", (".pdf",), rb"\A%PDF-"),
)
ADVICE = """A path alone never runs or unpickles anything. Write where the module is made: torch:./my.py:Net; or what
  torch.export wrote: torch:./my.pt2. Or name a file that lists layers, such as ONNX, Darknet's or Keras's. Or write the
  layers as a spec, for example
    name: mine
    input: [3, 224, 224]
    layers:
      - conv(64, 3, padding=1) | batchnorm | relu
      - global_avgpool | flatten | linear(1000)
  and run `archcalc check FILE`; `archcalc ops` lists the operators."""


def foreign(path: str) -> str:
    """Return what kind of file it is and what to do, or "" if the kind is unknown or the file cannot be read."""
    what = kind_of(path)
    return what and f"this is {what}, not a spec\n  {ADVICE}"


def kind_of(path: str) -> str:
    """Return what kind of file of another program it is, or "" if that is unknown or the file cannot be read."""
    try:
        if not os.path.isfile(path):  # a pipe would block, a device has no end
            return ""
        with open(path, "rb") as file:
            beginning = file.read(BEGINNING).removeprefix(codecs.BOM_UTF8)
    except (OSError, ValueError):  # it does not exist, or its name is invalid
        return ""
    for kind in KINDS:
        if os.path.splitext(path)[1].lower() in kind.suffixes or re.search(kind.beginning, beginning):
            return kind.what
    return ""
