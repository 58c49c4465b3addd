"""Read the spec in a file, on the standard input, or translated from a file of another program."""

from __future__ import annotations

import os
from functools import lru_cache

from archcalc.errors import ArchcalcError
from archcalc.importers.declared import declared_spec, is_declared
from archcalc.spec.network_spec import SUFFIXES, Spec, parse_spec
from archcalc.spec.yaml import read_input, read_text
from archcalc.spec_files import PUBLISHED, shown, sibling, stem_of

STDIN = "-"  # in place of a path


def read_spec(path: str, part: str = "") -> Spec:
    """Read the spec in a file, or translate a file of another program; `part` selects one of the networks in that.

    Raises ArchcalcError if the file cannot be read, SpecError if it is neither.
    """
    if path == STDIN:
        return parsed(read_input(), "<text>", "")
    if stem_of(path).endswith(PUBLISHED):
        network = stem_of(path).removesuffix(PUBLISHED)
        found = sibling(path, network)
        hint = f"name the spec, {shown(found)}" if found else f"there is no {network}.yaml beside it"
        raise ArchcalcError(f"{shown(path)}: published figures, not a spec; {hint}")
    try:
        text = read_text(path)
        if not text.strip() and not path.endswith(SUFFIXES):
            raise ArchcalcError(f"{shown(path)}: the file is empty")
        return parsed(text, shown(path), os.path.abspath(path))
    except ArchcalcError:
        if is_declared(path):
            made = f"{path} as a spec"  # errors in the translated text show it
            return parsed(declared_spec(path, shown(path), part), shown(made), os.path.abspath(made))
        from archcalc.spec.foreign_files import foreign  # only errors need it

        if what := foreign(path):
            raise ArchcalcError(f"{shown(path)}: {what}") from None
        raise


@lru_cache(maxsize=64)
def parsed(text: str, name: str, path: str) -> Spec:
    """Parse the text of a spec, called `name` in errors; equal texts of a file once."""
    return parse_spec(text, name, path)
