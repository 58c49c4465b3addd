"""The params and the input of a network: what the spec says, what the variant changes, and what a caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.errors import ArchcalcError, Refusal, SpecError, shorten, suggest
from archcalc.ops import Shape
from archcalc.ops.arguments import extent
from archcalc.spec.expression import Compiled
from archcalc.spec.functions import Names
from archcalc.spec.network_spec import Spec


def settle_params(spec: Spec, network: str, overrides: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Put the params into `names`: defaults, the variant's, then the overrides. Returns those that this changes.

    Raises ArchcalcError for an override of no param.
    """
    settings, changed = {**spec.params, **spec.variants.get(network, {})}, {}
    for key in overrides:
        if key not in settings:
            known = suggest(key, settings) or "it has none"
            raise ArchcalcError(f"{network} has no param {shorten(key)!r}; {known}")
    names.later = frozenset(settings)
    for key, own in settings.items():
        value = overrides.get(key, own)
        names[key] = value.run(names) if isinstance(value, Compiled) else value
        if key in overrides and not _gives(own, names[key], names):
            changed[key] = names[key]
    return changed


def _gives(own: Compiled, given: Any, names: Names) -> bool:
    """Whether what is given is the spec's own value; that may fail where it depends on others that are given."""
    try:
        return bool(own.run(names) == given)
    except SpecError:
        return False


def settle_input(spec: Spec, given: Shape | None, names: Names) -> tuple[Shape, Shape | None]:
    """The shape of the input, and again if it differs from the spec's. Raises ArchcalcError for what is no shape."""
    if given is None:
        try:
            return extent(spec.input.run(names)), None
        except Refusal as error:
            hint = "for example [3, 224, 224]: channels, height, width"
            raise SpecError(f"input {error}", spec.input.place, hint) from None
    try:
        shape = extent(_whole(spec, given, names))
    except Refusal as error:
        raise ArchcalcError(f"input {error}") from None
    return shape, None if _gives(spec.input, shape, names) else shape


def _whole(spec: Spec, given: Shape, names: Names) -> Shape:
    """For an image's size alone, one number or two, the shape with the spec's own channels."""
    own = spec.input.run(names) if len(given) < 3 else ()
    return (own[0], given[0], given[-1]) if isinstance(own, tuple) and len(own) == 3 and given else given
