"""Find and load networks: of the zoo, of the user's folders, of a file or a text. All access to specs goes through it.

A plain name is the network of the paper; a folder before it names another source (`cs231n/alexnet`). The zoo is
`specs/`, which is inside the package in a wheel; folders in ARCHCALC_PATH come before it. A name that ends in `.yaml`
is a path, followed by `:network` if the file has several; `-` is the standard input. `importers/sources.py` says what
else can be loaded, such as `torch:torchvision.models:resnet50`; only that runs code. `NAME.published.yaml` beside
`NAME.yaml` is not a spec: it has what is published about the networks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from archcalc.errors import ArchcalcError, SpecError, UnknownNetwork, one_line, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Origin
from archcalc.importers.declared import OF_FILES, is_declared
from archcalc.importers.sources import TORCH, source_of
from archcalc.network_names import Names, fits, is_pattern
from archcalc.spec.binding import InputShapes, plain_params, plain_shape
from archcalc.spec.expansion import expand
from archcalc.spec.network_spec import SUFFIXES, Changes, Spec
from archcalc.spec.yaml import near_file
from archcalc.spec_files import IndexLine, files, folders, indexed, indexed_file, mentions, published_beside, shown
from archcalc.spec_reading import STDIN, parsed, read_spec

if TYPE_CHECKING:
    from pathlib import Path

K = TypeVar("K")
T = TypeVar("T")
Broken: TypeAlias = Callable[[ArchcalcError], object] | None  # takes the errors of specs that are skipped


class Network(NamedTuple):
    """A network of the catalog: its file, and its row of `archcalc list` if the index has it."""

    path: str
    entry: IndexLine | None = None


def networks(broken: Broken = None) -> dict[str, Path]:
    """Map names to files of all networks of the zoo and of the user's folders.

    Files that fail to parse are passed to `broken` and skipped; without `broken` the error is raised.
    """
    from pathlib import Path  # loading a network needs none

    return {name: Path(network.path) for name, network in _networks(broken).items()}


def _networks(broken: Broken) -> dict[str, Network]:
    found: dict[str, Network] = {}
    for folder in folders():
        known = indexed(folder)
        for name, entry in known.items():
            found.setdefault(name, Network(os.path.join(folder, entry.file), entry))
        for (prefix, path), spec in each(files(folder), lambda file: read_spec(file[1]), broken) if not known else ():
            for network in spec.networks():
                found.setdefault(prefix + network, Network(path))
    return found


def each(items: Iterable[K], work: Callable[[K], T], broken: Broken) -> Iterator[tuple[K, T]]:
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


def listed(
    row: Callable[[Graph], dict[str, Any]], family: str | None = None, broken: Broken = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of all networks or of a family: from the index, or computed by `row` from the graph.

    Raises ArchcalcError if there is no such family; `broken` as in `networks`.
    """

    def made(item: tuple[str, Network]) -> dict[str, Any]:
        name, network = item
        return network.entry.row() if network.entry else row(build(_in(network.path, name), name))

    yield from (own for _, own in each(_chosen(family, broken).items(), made, broken))


def _chosen(family: str | None, broken: Broken) -> dict[str, Network]:
    """Return all networks or those of a family. Raises ArchcalcError for an unknown one; `broken` as in `networks`."""
    found = _networks(broken)
    if family is None:
        return found

    def family_of(name: str) -> str:
        path, entry = found[name]
        return str(entry.row()["family"]) if entry else spec_to_expand(_in(path, name)).about.family

    families = dict(each(found, family_of, broken))
    if family not in families.values():
        hint = suggest(family, families.values()) or "`archcalc list` shows each family"
        raise ArchcalcError(f"no family {family!r}; {hint}")
    return {name: found[name] for name, own in families.items() if own == family}


def _in(path: str, name: str) -> Origin:
    return _origin(read_spec(path), name.rpartition("/")[2])


def _origin(spec: Spec, network: str) -> Origin:
    return Origin(spec.text, spec.path, network)


def origin(name: str) -> Origin | None:
    """Find a network without expanding it; None for an import. Raises ArchcalcError with the nearest names."""
    return None if source_of(name) else _found(name)[0]


def origins(path: str, part: str = "") -> list[Origin]:
    """Return the networks of a file, or a scale of a YOLO model. Raises ArchcalcError; SpecError if it is no spec."""
    spec = read_spec(path, part)
    return [_origin(spec, network) for network in spec.networks()]


def specs_in(folder: str) -> list[str]:
    """Return the paths of all specs in a folder, without those in hidden folders."""
    return [shown(at) for prefix, at in files(folder or os.curdir) if "/." not in f"/{prefix}{os.path.basename(at)}"]


def spec_of(origin: Origin) -> Spec:
    """Return the spec that describes a network, or has it as an alias."""
    return parsed(origin.text, shown(origin.path) if origin.path else "<text>", origin.path)


def described(origin: Origin) -> tuple[Spec, str, Changes]:
    """Return the spec that has a network's layers, its name there, and for an alias what that changes.

    Raises SpecError if the target of an alias does not exist, or is an alias itself.
    """
    spec = spec_of(origin)
    alias = spec.aliases.get(origin.network)
    if alias is None:
        return spec, origin.network, Changes()
    try:
        target, _ = _found(alias.network, spec.path, aliases=False)
    except SpecError:
        raise
    except ArchcalcError as error:
        raise SpecError(str(error), alias.place) from None
    return spec_of(target), target.network, alias


def spec_to_expand(origin: Origin) -> Spec:
    """Return the spec that has a network's layers; for an alias that of its target, with what the alias sets.

    Raises SpecError like `described`.
    """
    spec, network, changes = described(origin)
    return spec_of(origin).standing_for(origin.network, spec, network) if changes.network else spec


def published_file(origin: Origin) -> str | None:
    """Return the file of published figures beside a network's spec, if there is one."""
    return published_beside(origin.path) if origin.path else None


def build(origin: Origin, name: str = "") -> Graph:
    """Expand a network to its graph; `name` is the graph's name, if given. Raises SpecError with place and trail."""
    return expand(spec_to_expand(origin), origin.network, origin.params, origin.input, name or origin.network)


def variant(graph: Graph, changes: Changes) -> Graph:
    """Build a graph's network with changes, or another network: of the catalog, otherwise of the same file.

    A file of the zoo refers to networks of the zoo, whatever folders the user has. Raises SpecError, and ArchcalcError
    for a graph without a spec.
    """
    own = found = graph.origin
    if own is None or found is None:
        raise ArchcalcError(f"{graph.name} has no spec: load it by name, or parse its text")
    if changes.network:
        try:
            found, _ = _found(changes.network, own.path)
        except SpecError:
            raise
        except ArchcalcError:
            if changes.network not in spec_of(own).networks():
                raise
            found = own._replace(network=changes.network)
    return build(found._replace(params=changes.params, input=plain_shape(changes.input)), changes.network)


def _found(name: str, beside: str = "", aliases: bool = True) -> tuple[Origin, str]:
    """Find a network. Returns it with its path if `name` is a path, otherwise with "".

    `beside` is the file that refers to it; paths are relative to that file. Without `aliases` it must not be an alias.
    Raises ArchcalcError with the nearest names.
    """
    whole = name == STDIN or name.endswith(OF_FILES)
    path, network = (name, "") if whole else tuple(name.rpartition(":")[::2])
    if path.endswith(OF_FILES) or (path == STDIN and not beside):
        return _in_file(shown(os.path.join(os.path.dirname(beside), path)) if beside else path, network)
    unread: ArchcalcError | None = None
    stem = name.rpartition("/")[2]
    for candidate in _candidates(name, beside):
        try:
            spec = read_spec(candidate)
        except ArchcalcError as error:  # another file may have the network
            unread = unread or error
            continue
        if stem in spec.networks() and (aliases or stem not in spec.aliases):
            return _origin(spec, stem), ""
        if stem in spec.aliases:
            hint = f"write its target, {spec.aliases[stem].written}"
            unread = unread or ArchcalcError(f"{shorten(name)} is an alias itself; {hint}")
    if unread:
        raise unread
    if _is_file(name):
        return _in_file(name, "")
    known = networks(broken=lambda error: None)  # ignore broken files: report the misspelt name
    alike = Names(known).find(name)
    hint = f"did you mean {alike.networks[0]}?" if alike.networks and not alike.more else ""
    hint = hint or near_file(name, (*OF_FILES, ".csv"))
    within = sum(name.lower() in own.lower() for own in known) if name.isalpha() else 0
    listed = f"`archcalc list {name}` shows all such names" if within > 3 else ""
    hint = hint or listed or suggest(name, known)
    hint = f"Python code runs only as a source: torch:{shorten(name)}" if ".py:" in name else hint
    raise UnknownNetwork(f"no network is called {shorten(name)!r}; {hint or '`archcalc list` shows all names'}")


def spelled(name: str) -> str:
    """Return a name as the catalog spells it: `VGG16`, `vgg-16` → `vgg16`; others, paths and sources unchanged.

    An exact name comes first. Raises ArchcalcError if several networks are spelled alike.
    """
    if ":" in name or name.endswith((*OF_FILES, STDIN)) or source_of(name) or is_pattern(name):
        return name
    if _is_file(name) or any(indexed_file(folder, name) for folder in folders()):
        return name
    broken: list[ArchcalcError] = []
    known = networks(broken.append)
    if name in known or broken:  # a broken file may have it
        return name
    found = Names(known).spelled(name)
    if len(found) > 1:
        raise ArchcalcError(f"{shorten(name)} may be {' or '.join(found)}; write one of these")
    return found[0] if found else name


def _candidates(name: str, beside: str) -> Iterator[str]:
    """Yield the files that may have a network; for the zoo, first the file that the index names."""
    stem = name.rpartition("/")[2]
    for folder in folders(beside):
        if path := indexed_file(folder, name):
            yield path
        yield from (path for prefix, path in files(folder) if name == prefix + stem and mentions(path, stem))


def matching(patterns: Sequence[str], broken: Broken = None) -> list[str]:
    """Expand patterns such as `resnet*` to catalog names; pass other names through. Without patterns, all names.

    `broken` as in `networks`. Raises ArchcalcError for a pattern that no name matches.
    """
    globs = [own for own in patterns if is_pattern(own) and not own.startswith(TORCH) and not os.path.lexists(own)]
    known = list(networks(broken)) if globs or not patterns else []
    found: dict[str, None] = dict.fromkeys(known if not patterns else [])
    for pattern in patterns:
        names = [name for name in known if fits(name, pattern)] if pattern in globs else [pattern]
        if not names:
            raise ArchcalcError(f"no network matches {shorten(pattern)!r}; `archcalc list` shows all names")
        found |= dict.fromkeys(names)
    return list(found)


def named(names: Sequence[str], family: str | None, broken: Broken) -> list[str]:
    """Return networks by name, path or pattern, followed by those of a family.

    A name that is given twice appears twice; a pattern or family adds only new names. Raises ArchcalcError for a
    pattern without a match, and for an unknown family.
    """
    found: list[str] = []
    for name in names:
        meant = matching([name], broken)
        found += meant if meant == [name] else [other for other in meant if other not in found]
    kin = _chosen(family, broken) if family is not None else {}
    return found + [name for name in kin if name not in found]


def _in_file(path: str, network: str) -> tuple[Origin, str]:
    spec = read_spec(path, network)
    known = spec.networks()
    if len(known) == 1 and (not network or is_declared(path)):
        return _origin(spec, known[0]), path
    if network not in known:
        problem = f"no network {network!r}" if network else f"{len(known)} networks"
        typed = f"-- {path}" if path == STDIN else path
        raise ArchcalcError(f"{path} has {problem}; name one: {', '.join(f'{typed}:{n}' for n in known[:8])}")
    return _origin(spec, network), path


def titles(names: Iterable[str]) -> dict[str, str]:
    """Map the given names to the names that tables show.

    A network of a file is shown with its own name, followed by the file if another network has the same name. A file
    that cannot be read is shown with its path.
    """
    known = {name: _own_name(name) for name in names}
    counts = Counter(own for own, _ in known.values())
    return {name: f"{own} ({path})" if path and counts[own] > 1 else own for name, (own, path) in known.items()}


def _own_name(name: str) -> tuple[str, str]:
    """Return the own name of a network, and its file if `name` is a path, or what else tells it from others."""
    try:
        if source := source_of(name):
            return source.title, source.place
    except ArchcalcError:  # loading the network will raise it
        return name, ""
    if STDIN not in (name, name.partition(":")[0]) and not any(own in name for own in SUFFIXES) and not _is_file(name):
        return name, ""  # a name of the catalog; no search needed
    try:
        found, path = _found(name)
    except ArchcalcError:  # loading the network will raise it
        return name, ""
    return (found.network, path) if path else (name, "")


def _is_file(name: str) -> bool:
    return "\0" not in name and os.path.lexists(name)


def load(name: str | os.PathLike[str], /, input: InputShapes | None = None, **params: Any) -> Graph:
    """Load the graph of a network by name or path, with params set: `load("resnet50", classes=10)`.

    `input` is a shape (channels, height, width) that replaces that of the spec, or shapes of several inputs by name. A
    text as a param is an expression.
    Raises ArchcalcError or SpecError.
    """
    path = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(path, str):
        raise ArchcalcError(f"load needs a name or a path, not {type(name).__name__}")
    return load_with(path, params, input)


@uncollected
def load_with(name: str, params: Mapping[str, Any], input: InputShapes | None = None, title: str = "") -> Graph:
    """Load a network like `load`, with params of any name in a mapping; `title` is the graph's name, if given."""
    if source := source_of(name):
        from archcalc.importers.opening import import_graph  # networks of specs need no importer

        return import_graph(source, params, plain_shape(input), one_line(title or source.title))
    found, path = _found(name := spelled(name))
    title = title or (found.network if path else name)
    made = found._replace(params=plain_params(params), input=plain_shape(input))
    return build(made, one_line(title))


def loaded(
    names: Sequence[str],
    family: str | None,
    params: Mapping[str, Any],
    input: InputShapes | None,
    broken: Broken,
) -> Iterator[Graph]:
    """Yield the graphs of the networks that `named` returns.

    A spec that fails and was not asked for by name is passed to `broken` and skipped. Raises ArchcalcError, with the
    network's name, for params or an input that do not fit a network.
    """
    found = named(names, family, broken)
    called = titles(found)
    for name in found:
        asked = name in names or params or input is not None
        try:
            yield load_with(name, params, input, called[name])
        except ArchcalcError as error:
            if isinstance(error, SpecError) and (params or input is not None):
                raise ArchcalcError(f"{name}: {error}") from None
            if broken is None or asked:
                raise
            broken(error)


@uncollected
def parse(text: str, /, network: str = "", input: InputShapes | None = None, **params: Any) -> Graph:
    """Build the graph of a spec that is given as text; `network` selects one of several networks."""
    if not isinstance(text, str) or text.endswith(SUFFIXES):
        given = shorten(repr(text)) if isinstance(text, str | os.PathLike) else type(text).__name__
        raise ArchcalcError(f"parse needs the text of a spec, not {given}; load reads a file")
    own = Origin(text, "", network, plain_params(params), plain_shape(input))
    known = spec_of(own).networks()
    if network not in known and (network or len(known) > 1):
        raise ArchcalcError(f"the text has {', '.join(known)}; select one with `network=`")
    return build(own._replace(network=network or known[0]))
