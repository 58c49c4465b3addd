"""Bind values to names: a network's params and input, a block's parameters, an operator's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from archcalc.errors import ArchcalcError, ArgumentError, Place, Refusal, Source, SpecError, counted, shorten, suggest
from archcalc.ops import REGISTRY, Operator, make
from archcalc.ops.arguments import extent, plain, show
from archcalc.ops.shape import BY_LETTERS, USUAL, Shape, Sizes, axes_of, shape_of
from archcalc.ops.symbols import Formula
from archcalc.spec.arguments import NOTHING, Argument, Arguments, given_by
from archcalc.spec.expression import Compiled, value_of
from archcalc.spec.functions import LIMIT, NUMBERS, Budget, Fault, Names, Reference, Tensor, number
from archcalc.spec.input_text import TypedSizes
from archcalc.spec.layers import Call, Join, Repeat
from archcalc.spec.network_spec import Block, InputShape, Spec
from archcalc.spec.node_names import Scope
from archcalc.spec.yaml import Scalar

InputShapes: TypeAlias = Sequence[int] | Mapping[str, Any]  # of one input: sizes, perhaps by axis; of several by name
GivenInput: TypeAlias = Sizes | Mapping[str, Sizes]  # likewise, checked


def plain_shape(input: Any) -> GivenInput | None:
    """Convert the new shape of an input: a sequence of numbers, or numbers by axis; of several inputs shapes by name.

    Raises ArchcalcError for others.
    """
    if isinstance(input, Mapping) and any(isinstance(size, Iterable) for size in input.values()):
        return {str(name): plain_sizes(shape) for name, shape in input.items()}
    return None if input is None else plain_sizes(input)


def plain_sizes(input: Any) -> Sizes:
    """Convert the new shape of one input. Raises ArchcalcError."""
    if isinstance(input, Shape | TypedSizes):
        return input
    named = not isinstance(input, Mapping) or all(isinstance(axis, str) for axis in input)
    if isinstance(input, str | bytes) or not isinstance(input, Iterable) or not named:
        raise ArchcalcError(f"input needs a shape such as (3, 224, 224), not {shorten(repr(input))}")
    try:
        if isinstance(input, Mapping):
            axes = axes_of([*input])
            return shape_of(extent(plain_sizes([input[axis] for axis in axes])), axes)
        return tuple(number(size) if isinstance(size, int) else size for size in map(plain, input))
    except Fault as fault:
        raise ArchcalcError(f"input has {fault}") from None
    except Refusal as error:
        raise ArchcalcError(f"input {error}") from None


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the new values of params: a text becomes an expression, a list a tuple. Raises ArchcalcError."""
    return {key: _plain(key, value) for key, value in params.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value_of(Scalar(value, Place(Source(f"--set {name}", value.split("\n")), 1, 1)))
    try:
        return _frozen(value)
    except Fault as fault:
        raise ArchcalcError(f"param {shorten(name)}: {fault}") from None
    except RecursionError:
        raise ArchcalcError(f"param {shorten(name)}: lists nested too deeply") from None


def _frozen(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if not isinstance(value, NUMBERS):
        raise Fault(f"needs a number, text, truth value or list, not {type(value).__name__}")
    return number(value)


def settle_params(spec: Spec, network: str, overrides: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Put the params into `names`: defaults, those of the variant, then the overrides. Returns those that differ.

    Raises ArchcalcError for an override of an unknown param.
    """
    settings, changed = {**spec.params, **spec.variants.get(network, {})}, {}
    for key in overrides:
        if key not in settings:
            known = suggest(key, settings) or ("`archcalc show` lists them" if settings else "it has no params")
            raise ArchcalcError(f"{network} has no param {shorten(key)!r}; {known}")
    names.later = frozenset(settings)
    for key, own in settings.items():
        value = overrides.get(key, own)
        names[key] = value.run(names) if isinstance(value, Compiled) else value
        if key in overrides and not _gives(own, names[key], names):
            changed[key] = names[key]
    return changed


def _gives(own: Compiled, given: Any, names: Names) -> bool:
    """Whether a given value is the spec's own and of its type; False if the other overrides make that unknown."""
    try:
        return repr(own.run(names)) == repr(given)  # 1, 1.0 and True are equal
    except SpecError:
        return False


def settle_inputs(spec: Spec, given: GivenInput | None, names: Names) -> tuple[dict[str, Shape], GivenInput | None]:
    """Return the inputs' shapes by name, and what of `given` differs from the spec's; None if nothing.

    Raises ArchcalcError for an unknown input, a shape without the name of one of several, and an invalid shape.
    """
    by_name = given if isinstance(given, Mapping) else {} if given is None else {_only(spec): given}
    for name in by_name:
        if name not in spec.inputs:
            known = suggest(name, spec.inputs) or _named(spec)
            raise ArchcalcError(f"{spec.name} has no input {shorten(name)!r}; {known}")
    settled = {name: _settled(own, by_name.get(name), names) for name, own in spec.inputs.items()}
    changed = {name: shape for name, (shape, differs) in settled.items() if differs}
    return {name: shape for name, (shape, _) in settled.items()}, changed.get("", changed or None)


def input_shapes(
    spec: Spec, network: str, overrides: Mapping[str, Any], given: GivenInput | None
) -> dict[str, Shape]:  # fmt: skip
    """Return the shapes of a network's inputs by name, without expanding it. Raises ArchcalcError."""
    names = Names({}, {name: Reference(name) for name in (*REGISTRY, *spec.blocks)}, Budget())
    settle_params(spec, network, overrides, names)
    return settle_inputs(spec, given, names)[0]


def _only(spec: Spec) -> str:
    """Return the name of the only input. Raises ArchcalcError for several."""
    if len(spec.inputs) > 1:
        raise ArchcalcError(f"{spec.name} has several inputs; {_named(spec)}")
    return next(iter(spec.inputs))


def _named(spec: Spec) -> str:
    named = [name for name in spec.inputs if name]
    return f"its inputs are {', '.join(named)}: write {named[0]}=3x224x224" if named else "its input has no name"


def _settled(own: InputShape, given: Sizes | None, names: Names) -> tuple[Shape, bool]:
    """Return an input's shape, and whether that differs from the spec's."""
    if given is None:
        return _own_input(own, names), False
    if isinstance(given, TypedSizes):
        raise ArchcalcError(f"the input of a spec has no dtype {given.dtype}; write T=128 for numbers of tokens")
    try:
        shape = given if isinstance(given, Shape) else _completed(own, extent(given), names)
    except Refusal as error:
        raise ArchcalcError(f"input {error}") from None
    try:
        return shape, shape.text != _own_input(own, names).text  # comparing formulas would note conditions
    except SpecError:  # the given params or input are needed
        return shape, True


def _own_input(own: InputShape, names: Names) -> Shape:
    given = own.sizes.run(names)
    try:
        sizes = extent(given)
        return shape_of(sizes, own.axes or _usual(sizes))
    except Refusal as error:
        several = isinstance(given, tuple) and given and isinstance(given[0], tuple)
        one = "write channels, height, width, such as [3, 224, 224]"
        hint = "several inputs have names: {left: [3, 32, 32], right: [3, 32, 32]}" if several else one
        raise SpecError(f"input {error}", own.sizes.place, "" if "write" in str(error) else hint) from None


def _usual(sizes: Sizes, option: bool = False) -> str:
    """Return the axes of a list of one size or three. Raises Refusal for others, with what to write.

    That is the axes with their names, as in a spec, or as an `option` of the command line has them.
    """
    usual = {len(axes): axes for axes in USUAL}
    if len(sizes) in usual:
        return usual[len(sizes)]
    known = [axes for axes in BY_LETTERS.values() if len(axes) == len(sizes)]
    if not known:
        raise Refusal(f"needs one to four sizes, not {len(sizes)}")
    form, joint, around = ("{}={}", ",", "{}") if option else ("{}: {}", ", ", "{{{}}}")
    written = [around.format(joint.join(map(form.format, axes, sizes))) for axes in known]
    if len(sizes) == 4 and sizes[0] == 1:
        written.append(f"{'x'.join(map(str, sizes[1:])) if option else list(sizes[1:])}, without the batch")
    raise Refusal(f"needs names for its {len(sizes)} axes; write {' or '.join(written)}")


def _completed(input: InputShape, given: Sizes, names: Names) -> Shape:
    """Return a shape for sizes without axes: lengths with the channels of the spec's input, or all of its sizes.

    One length stands for all. Three sizes are an image unless they are the lengths of a volume.
    """
    if len(given) == 3 and "D" not in input.axes:
        return shape_of(given)
    own = _own_input(input, names)
    axes = len(own.lengths)
    if axes and len(given) in (1, axes):
        return own.of(own.channels, given if len(given) == axes else given * axes)
    return shape_of(given, own.axes if len(given) == len(own.axes) else _usual(given, option=True))


def count_of(plan: Repeat, names: Names, most: int) -> int:
    """Return how often a step is repeated. Raises SpecError for what is no number up to `most`."""
    count = plan.count.run(names)
    if type(count) is not int or not 0 <= count <= most:
        hint = "a symbol cannot decide how many layers there are" if isinstance(count, Formula) else ""
        raise SpecError(f"a count must be a whole number from 0 to {most:,}, not {show(count)}", plan.place, hint)
    return count


class Called(NamedTuple):
    """A block call that is running."""

    block: Block
    given: dict[str, Any]
    place: Place

    def __str__(self) -> str:
        given = ", ".join(f"{name}={show(value)}" for name, value in self.given.items())
        return f"{shorten(f'{self.block.name}({given})', 80)}, called at line {self.place.line}"


def evaluate(call: Call | Join, names: Names, scope: Scope) -> Arguments:
    """Evaluate the arguments of a call. A name that is nothing else may be a label, which stands for its output."""
    if not (call.positional or call.named):
        return NOTHING
    args = tuple([_value(argument, names, scope) for argument in call.positional])
    return given_by(args, {argument.keyword: _value(argument, names, scope) for argument in call.named})


def _value(argument: Argument, names: Names, scope: Scope) -> Any:
    try:
        value = argument.value.run(names)
        found = scope.labelling(argument.word) if argument.keyword == "weight" else None
        if found is None or not isinstance(value, Reference):  # a label may have the name of an operator
            return value
    except SpecError as error:
        found = scope.labelling(argument.word)
        if found is None:
            near = suggest(argument.word, scope.known()) if argument.word else ""
            error.hint = near * near.startswith("did") or error.hint
            raise
    return Tensor(argument.word, found.labels[argument.word])


def operator_with(call: Call | Join, cls: type[Operator], given: Arguments, axes: int) -> Operator:
    """Create an operator with these arguments, for so many axes. Raises SpecError at the wrong argument."""
    try:
        return make(cls, given.args, given.keywords, axes)
    except ArgumentError as error:
        raise SpecError(f"{cls.name}: {error}", place_of(call, error.argument)) from None


def output_of(op: Operator, x: Any) -> Shape:
    """Return the output's shape. Raises Refusal if the input does not fit, or if a dimension is out of bounds."""
    output = op.output(x)
    for size in output:  # `max` would compare formulas with each other
        if size >= LIMIT:
            raise Refusal("a dimension beyond 2^63")
    return output


def parameters_of(call: Call, block: Block, given: Arguments) -> dict[str, Any]:
    """Return the values that a call gives to a block's parameters. Raises SpecError at the wrong argument."""
    parameters = [name for name, _ in block.parameters]
    bound = dict(zip(parameters, given.args, strict=False))
    if len(given.args) > len(parameters):
        most = counted(len(parameters), "argument")
        place = place_of(call, len(parameters))
        raise SpecError(f"{block.name}: takes at most {most}: {block.signature()}", place)
    for name, value in given.keywords.items():
        if name not in parameters:
            hint = suggest(name, parameters)
            raise SpecError(f"{block.name}: has no parameter {name!r}: {block.signature()}", place_of(call, name), hint)
        if name in bound:
            raise SpecError(f"{block.name}: gets {name} twice", place_of(call, name))
        bound[name] = value
    if len(bound) == len(parameters):
        return bound
    missing = [name for name, default in block.parameters if default is None and name not in bound]
    if missing:
        raise SpecError(f"{block.name}: lacks {' and '.join(missing)}: {block.signature()}", call.place)
    return bound


def place_of(call: Call | Join, argument: int | str | None) -> Place:
    """Return the place of an argument by its position or keyword; otherwise the place of the call."""
    if isinstance(argument, int):
        return call.positional[argument].place
    return next((written.place for written in call.named if written.keyword == argument), call.place)
