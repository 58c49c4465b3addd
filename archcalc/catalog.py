"""Networks by name: of the zoo, of the user's own folders, of a path or a text. The only door to specs.

A plain name is the paper's own network; a folder in front says whose it is (`cs231n/alexnet`). The zoo is `specs/`,
which the wheel carries inside the package; folders named in ARCHCALC_PATH come before it. A name that ends in `.yaml`
is a path, with `:network` after it where the file holds several. `NAME.published.yaml` beside `NAME.yaml` is no spec:
it holds what is published of its networks.
"""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from archcalc.errors import ArchcalcError, Place, Source, SpecError, printable, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Origin
from archcalc.ops import Shape
from archcalc.ops.arguments import plain
from archcalc.spec.expansion import expand
from archcalc.spec.expression import value_of
from archcalc.spec.foreign_files import foreign
from archcalc.spec.functions import Fault, number
from archcalc.spec.network_spec import SUFFIXES, Changes, Spec, parse_spec
from archcalc.spec.yaml import Scalar, read_text
from archcalc.spec_files import PUBLISHED, Entry, files, folders, indexed, indexed_file, sibling

K = TypeVar("K")
T = TypeVar("T")
Broken: TypeAlias = Callable[[ArchcalcError], object] | None  # takes the errors of specs that are skipped


class Network(NamedTuple):
    """A network of the catalog: its file, and its row of `archcalc list` where the index has it."""

    path: Path
    entry: Entry | None = None


def _read(path: Path) -> Spec:
    """The spec in a file. Raises ArchcalcError for a file that cannot be read, SpecError for one that is no spec."""
    if path.stem.endswith(PUBLISHED):
        network = path.stem.removesuffix(PUBLISHED)
        found = sibling(path, network)
        hint = f"name the file of their networks, {shown(found)}" if found else f"there is no {network}.yaml beside it"
        raise ArchcalcError(f"{shown(path)}: published figures, which are no network; {hint}")
    try:
        return _parsed(read_text(path), shown(path), os.path.abspath(path))
    except ArchcalcError:
        if what := foreign(path):
            raise ArchcalcError(f"{shown(path)}: {what}") from None
        raise


@lru_cache(maxsize=64)
def _parsed(text: str, name: str, path: str) -> Spec:
    return parse_spec(text, name, path)


def shown(path: Path) -> str:
    """A path as errors show it: short where it lies below the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the working folder is gone
        return str(path)


def networks(broken: Broken = None) -> dict[str, Path]:
    """All networks of the zoo and the user's folders by name, with their files.

    Files that fail to parse are passed to `broken` and skipped; without `broken` the error is raised.
    """
    return {name: network.path for name, network in _networks(broken).items()}


def _networks(broken: Broken) -> dict[str, Network]:
    found: dict[str, Network] = {}
    for folder in folders():
        known = indexed(folder)
        for name, entry in known.items():
            found.setdefault(name, Network(folder / entry.file, entry))
        for (prefix, path), spec in _each(files(folder), lambda file: _read(file[1]), broken) if not known else ():
            for network in spec.networks():
                found.setdefault(prefix + network, Network(path))
    return found


def _each(items: Iterable[K], work: Callable[[K], T], broken: Broken) -> Iterator[tuple[K, T]]:
    """Yield each item with the result of `work`. Pass its errors to `broken`; without `broken` raise them."""
    for item in items:
        try:
            made = work(item)
        except ArchcalcError as error:
            if broken is None:
                raise
            broken(error)
            continue
        yield item, made


def members(family: str, broken: Broken = None) -> list[str]:
    """The networks of a family. Raises ArchcalcError with the nearest if there is none; `broken` as for `networks`."""
    return list(_chosen(family, broken))


def listed(
    row: Callable[[Graph], dict[str, Any]], family: str | None = None, broken: Broken = None
) -> Iterator[dict[str, Any]]:
    """The rows of all networks, or of a family: those of the index, and what `row` makes of the graphs of others.

    Raises ArchcalcError where there is no such family; `broken` as for `networks`.
    """

    def made(item: tuple[str, Network]) -> dict[str, Any]:
        name, network = item
        return network.entry.row() if network.entry else row(build(_in(network.path, name), name))

    yield from (own for _, own in _each(_chosen(family, broken).items(), made, broken))


def _chosen(family: str | None, broken: Broken) -> dict[str, Network]:
    found = _networks(broken)
    if family is None:
        return found

    def family_of(name: str) -> str:
        path, entry = found[name]
        return str(entry.row()["family"]) if entry else plan_of(_in(path, name)).about.family

    families = dict(_each(found, family_of, broken))
    if family not in families.values():
        raise ArchcalcError(f"no family {family!r}; {suggest(family, families.values())}")
    return {name: found[name] for name, own in families.items() if own == family}


def _in(path: Path, name: str) -> Origin:
    return _origin(_read(path), name.rpartition("/")[2])


def _origin(spec: Spec, network: str) -> Origin:
    return Origin(spec.text, spec.path, network)


def origin(name: str) -> Origin:
    """Find a network without expanding it. Raises ArchcalcError with the nearest names."""
    return _found(name)[0]


def origins(path: str) -> list[Origin]:
    """The networks of a file. Raises ArchcalcError, SpecError for what is no spec."""
    spec = _read(Path(path))
    return [_origin(spec, network) for network in spec.networks()]


def spec_of(origin: Origin) -> Spec:
    """The spec that names a network."""
    return _parsed(origin.text, shown(Path(origin.path)) if origin.path else "<text>", origin.path)


def plan_of(origin: Origin) -> Spec:
    """The spec with a network's layers: for an alias that of the network it stands for, with what the alias sets.

    Raises SpecError for an alias of what is not there, or only as an alias itself.
    """
    spec = spec_of(origin)
    alias = spec.aliases.get(origin.network)
    if alias is None:
        return spec
    try:
        target, _ = _found(alias.network, spec.path, aliases=False)
    except SpecError:
        raise
    except ArchcalcError as error:
        raise SpecError(str(error), alias.place) from None
    return spec.standing_for(origin.network, spec_of(target), target.network)


def published_file(origin: Origin) -> Path | None:
    """The file beside a network's that holds what is published of it, if there is one."""
    path = Path(origin.path)
    return sibling(path, path.stem + PUBLISHED) if origin.path else None


def build(origin: Origin, name: str = "") -> Graph:
    """The graph of a network, called `name` if given. Raises SpecError with place and trail."""
    return expand(plan_of(origin), origin.network, origin.params, origin.input, name or origin.network)


def variant(graph: Graph, changes: Changes) -> Graph:
    """The graph's network with changes, or another network: of the catalog, or else of the same file.

    A file of the zoo refers to networks of the zoo, whatever folders a user has. Raises SpecError, and ArchcalcError
    for a graph without a spec.
    """
    own = found = graph.origin
    if own is None or found is None:
        raise ArchcalcError(f"{graph.name} has no spec: load it, or parse its text")
    if changes.network:
        try:
            found, _ = _found(changes.network, own.path)
        except SpecError:
            raise
        except ArchcalcError:
            if changes.network not in spec_of(own).networks():
                raise
            found = own._replace(network=changes.network)
    return build(found._replace(params=changes.params, input=_shape(changes.input)), changes.network)


def _found(name: str, beside: str = "", aliases: bool = True) -> tuple[Origin, str]:
    """A network and, if it was asked for by a path, the path. Raises ArchcalcError with the nearest names.

    `beside` is the file that refers to it: a path is from there. Without `aliases` only networks are found that are
    written themselves.
    """
    path, network = (name, "") if name.endswith(SUFFIXES) else tuple(name.rpartition(":")[::2])
    if path.endswith(SUFFIXES):
        return _in_file(shown(Path(beside).parent / path) if beside else path, network)
    unread: ArchcalcError | None = None
    stem = name.rpartition("/")[2]
    for candidate in _candidates(name, beside):
        try:
            spec = _read(candidate)
        except ArchcalcError as error:  # it may be another file that holds the network
            unread = unread or error
            continue
        if stem in spec.networks() and (aliases or stem not in spec.aliases):
            return _origin(spec, stem), ""
        if stem in spec.aliases:
            hint = f"write {spec.aliases[stem].written}, for which it stands"
            unread = unread or ArchcalcError(f"{shorten(name)} is an alias itself; {hint}")
    if unread:
        raise unread
    if _is_file(name):
        return _in_file(name, "")
    hint = suggest(name, networks(broken=lambda error: None))  # the misspelt name is what was asked about
    raise ArchcalcError(f"no network is called {shorten(name)!r}; {hint or '`archcalc list` names them all'}")


def _candidates(name: str, beside: str) -> Iterator[Path]:
    """The files that may hold a network; of the zoo, first the one that the index names."""
    stem = name.rpartition("/")[2]
    for folder in folders(beside):
        if path := indexed_file(folder, name):
            yield path
        yield from (path for prefix, path in files(folder) if name == prefix + stem and _mentions(path, stem))


def matching(patterns: Sequence[str], broken: Broken = None) -> list[str]:
    """Expand patterns such as `resnet*` to catalog names; pass other names through. Without patterns, all names.

    `broken` as for `networks`. Raises ArchcalcError for a pattern that no name matches.
    """
    globs = [pattern for pattern in patterns if set(pattern) & set("*?[") and not os.path.lexists(pattern)]
    known = list(networks(broken)) if globs or not patterns else []
    found: dict[str, None] = dict.fromkeys(known if not patterns else [])
    for pattern in patterns:
        names = fnmatch.filter(known, pattern) if pattern in globs else [pattern]
        if not names:
            raise ArchcalcError(f"no network matches {shorten(pattern)!r}; `archcalc list` names them all")
        found |= dict.fromkeys(names)
    return list(found)


def _mentions(path: Path, word: str) -> bool:
    """Whether a file can hold a network of that name; reading the text is much faster than reading the spec."""
    try:
        return word in read_text(path)
    except ArchcalcError:
        return False


def _in_file(path: str, network: str) -> tuple[Origin, str]:
    spec = _read(Path(path))
    known = spec.networks()
    if not network and len(known) == 1:
        return _origin(spec, known[0]), path
    if network not in known:
        problem = f"no network {network!r}" if network else f"{len(known)} networks"
        raise ArchcalcError(f"{path} holds {problem}; name one: {', '.join(f'{path}:{n}' for n in known[:8])}")
    return _origin(spec, network), path


def titles(names: Iterable[str]) -> dict[str, str]:
    """What networks are called side by side, by the names that they were asked for.

    A network of a file goes by its own name, with the file behind it if another network has that name too. A file that
    cannot be read goes by its path.
    """
    known = {name: _own_name(name) for name in names}
    counts = Counter(own for own, _ in known.values())
    return {name: f"{own} ({path})" if path and counts[own] > 1 else own for name, (own, path) in known.items()}


def _own_name(name: str) -> tuple[str, str]:
    """What a network is called, and the file if it was asked for by a path."""
    if not any(suffix in name for suffix in SUFFIXES) and not _is_file(name):
        return name, ""  # of the catalog, which need not be searched
    try:
        found, path = _found(name)
    except ArchcalcError:  # it is raised where the network is loaded
        return name, ""
    return (found.network, path) if path else (name, "")


def _is_file(name: str) -> bool:
    return "\0" not in name and os.path.lexists(name)


def load(name: str | os.PathLike[str], /, input: Sequence[int] | None = None, **params: Any) -> Graph:
    """The graph of a network by name or path, with params set: `load("resnet50", classes=10)`.

    `input` is a shape (channels, height, width) in place of the spec's own. A param given as text is an expression.
    Raises ArchcalcError or SpecError.
    """
    path = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(path, str):
        raise ArchcalcError(f"load needs a name or a path, not {type(name).__name__}")
    return load_with(path, params, input)


@uncollected
def load_with(name: str, params: Mapping[str, Any], input: Sequence[int] | None = None, title: str = "") -> Graph:
    """As `load`, with the params in a mapping: they may have any name. The graph is called `title` if given."""
    found, path = _found(name)
    title = title or (found.network if path else name)
    made = found._replace(params=_overrides(params), input=_shape(input))
    return build(made, printable(title).replace("\n", "\\n"))


@uncollected
def parse(text: str, /, network: str = "", input: Sequence[int] | None = None, **params: Any) -> Graph:
    """The graph of a spec given as text; `network` picks one of its variants."""
    if not isinstance(text, str) or text.endswith(SUFFIXES):
        given = shorten(repr(text)) if isinstance(text, str | os.PathLike) else type(text).__name__
        raise ArchcalcError(f"parse needs the text of a spec, not {given}; load reads a file")
    own = Origin(text, "", network, _overrides(params), _shape(input))
    known = spec_of(own).networks()
    if network not in known and (network or len(known) > 1):
        raise ArchcalcError(f"the text holds {', '.join(known)}; pick one by `network=`")
    return build(own._replace(network=network or known[0]))


def _shape(input: Any) -> Shape | None:
    """Raises ArchcalcError for what is no sequence."""
    if input is None:
        return None
    if isinstance(input, str | bytes | Mapping) or not isinstance(input, Iterable):
        raise ArchcalcError(f"input needs a shape such as (3, 224, 224), not {shorten(repr(input))}")
    try:
        return tuple(number(size) if isinstance(size, int) else size for size in map(plain, input))
    except Fault as fault:
        raise ArchcalcError(f"input has {fault}") from None


def _overrides(params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _override(key, value) for key, value in params.items()}


def _override(name: str, value: Any) -> Any:
    """A param's new value: text becomes an expression, a list a tuple."""
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
    if not isinstance(value, int | float):
        raise Fault(f"needs a number, text, truth value or list, not {type(value).__name__}")
    return number(value)
