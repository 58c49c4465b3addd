"""Finding specs by name: the zoo, the user's own folders, a path.

A plain name is the paper's own network; a folder in front says whose it is (`cs231n/alexnet`). The zoo is `specs/`,
which the wheel carries inside the package; folders named in ARCHCALC_PATH come before it. A name that ends in `.yaml`
is a path, with `:network` after it where the file holds several.
"""

from __future__ import annotations

import ast
import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, Place, Source, SpecError, printable, shorten, suggest
from archcalc.graph.gc_pause import uncollected
from archcalc.graph.graph import Graph, Setting
from archcalc.ops import Shape
from archcalc.ops.arguments import plain
from archcalc.spec.expansion import expand
from archcalc.spec.expression import Evaluate, tree_of, value_of
from archcalc.spec.foreign_files import foreign
from archcalc.spec.functions import Fault, number
from archcalc.spec.network_spec import SUFFIXES, Spec, parse_spec
from archcalc.spec.yaml import Scalar, read_text


def folders(beside: Place | None = None) -> list[Path]:
    """Where specs are looked for, first come first served; for what a spec refers to, first where that spec lies."""
    own = [Path(folder) for folder in os.environ.get("ARCHCALC_PATH", "").split(os.pathsep) if folder]
    package = Path(__file__).parent
    found = [*own, package / "specs" if (package / "specs").is_dir() else package.parent / "specs"]
    referring = Path(beside.source.name).resolve() if beside else None
    return sorted(found, key=lambda folder: folder.resolve() not in referring.parents) if referring else found


def files(beside: Place | None = None) -> Iterator[tuple[str, Path]]:
    """Each spec file with the prefix its networks bear, "" or `cs231n/`; those with plain names first."""
    for folder in folders(beside):
        paths = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
        for path in sorted(paths, key=lambda path: (len(path.parts), path)):
            relative = path.parent.relative_to(folder).as_posix()
            yield ("" if relative == "." else relative + "/"), path


def read_spec(path: Path) -> Spec:
    """The spec in a file. Raises ArchcalcError for a file that cannot be read, SpecError for one that is no spec."""
    try:
        return _parsed(read_text(path), _shown(path))
    except ArchcalcError:
        if what := foreign(path):
            raise ArchcalcError(f"{_shown(path)}: {what}") from None
        raise


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> Spec:
    return parse_spec(text, name)


def _shown(path: Path) -> str:
    """A path as errors show it: short where it lies below the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the working folder is gone
        return str(path)


def networks(broken: Callable[[ArchcalcError], object] | None = None) -> dict[str, Path]:
    """All networks of the zoo and the user's folders by name, with their files.

    Files that fail to parse are passed to `broken` and skipped; without `broken` the error is raised.
    """
    found: dict[str, Path] = {}
    for prefix, path in files():
        try:
            names = read_spec(path).networks()
        except ArchcalcError as error:
            if broken is None:
                raise
            broken(error)
            continue
        for network in names:
            found.setdefault(prefix + network, path)
    return found


def graphs(family: str | None = None, broken: Callable[[ArchcalcError], object] | None = None) -> Iterator[Graph]:
    """All networks, or those of a family, one by one; `broken` as for `networks`.

    Raises ArchcalcError where there is no such family.
    """
    families = set()
    for name, path in networks(broken).items():
        network = name.rpartition("/")[2]
        try:
            spec = settled(read_spec(path), network)
            families.add(spec.about.family)
            graph = expand(spec, network, name=name) if family in (None, spec.about.family) else None
        except ArchcalcError as error:
            if broken is None:
                raise
            broken(error)
            continue
        if graph:
            yield graph
    if family not in (None, *families):
        raise ArchcalcError(f"no family {family!r}; {suggest(family or '', families)}")


def find(name: str, beside: Place | None = None, aliases: bool = True) -> tuple[Spec, str]:
    """The spec that holds a network, and the network's name in it. Raises ArchcalcError with the nearest names.

    What the zoo refers to is the zoo's own, whatever folders a user has: `beside` is where the reference stands, and a
    path is from there. Without `aliases` only networks are found that are written themselves.
    """
    found = _found(name, beside, aliases)
    return found.spec, found.network


def _meaning(alias: Setting) -> str:
    """What an alias stands for, and how a spec refers to that."""
    if not (alias.params or alias.input):
        return f"write {alias.network}, for which it stands"
    params = ", ".join(f"{name}: {ast.unparse(tree_of(value))}" for name, value in alias.params.items())
    parts = [f"network: {alias.network}"]
    parts += [f"set: {{{params}}}"] if params else []
    parts += [f"input: {list(alias.input)}"] if alias.input else []
    return f"write {{{', '.join(parts)}}}, for which it stands"


class Found(NamedTuple):
    """A network that was asked for: its spec, its name there, and the file if it was asked for by a path."""

    spec: Spec
    network: str
    path: str = ""


def _found(name: str, beside: Place | None = None, aliases: bool = True) -> Found:
    path, network = (name, "") if name.endswith(SUFFIXES) else tuple(name.rpartition(":")[::2])
    if path.endswith(SUFFIXES):
        return _in_file(str(Path(beside.source.name).parent / path) if beside else path, network)
    unread: ArchcalcError | None = None
    stem = name.rpartition("/")[2]
    for prefix, path_ in files(beside):
        if name == prefix + stem and _mentions(path_, stem):
            try:
                spec = read_spec(path_)
            except ArchcalcError as error:  # it may be another file that holds the network
                unread = unread or error
                continue
            if stem in spec.networks() and (aliases or stem not in spec.aliases):
                return Found(spec, stem)
            if stem in spec.aliases:
                unread = unread or ArchcalcError(f"{shorten(name)} is an alias itself; {_meaning(spec.aliases[stem])}")
    if unread:
        raise unread
    if _is_file(name):
        return _in_file(name, "")
    hint = suggest(name, networks(broken=lambda error: None))  # the misspelt name is what was asked about
    raise ArchcalcError(f"no network is called {shorten(name)!r}; {hint or '`archcalc list` names them all'}")


def settled(spec: Spec, network: str) -> Spec:
    """The spec that says what a network is: an alias leads to that of the network it stands for.

    Raises SpecError for an alias of what is not there, or only as an alias itself.
    """
    alias = spec.aliases.get(network)
    if alias is None:
        return spec
    try:
        target, own_name = find(alias.network, alias.place, aliases=False)
    except SpecError:
        raise
    except ArchcalcError as error:
        raise SpecError(str(error), alias.place) from None
    return spec.standing_for(network, target, own_name)


def build(
    spec: Spec, network: str, params: Mapping[str, Any] | None = None, shape: Shape | None = None, name: str = ""
) -> Graph:
    """The graph of a spec's network or alias, called `name` if given. Raises SpecError with place and trail."""
    graph = expand(settled(spec, network), network, params, shape, name or network)
    return replace(graph, related=partial(_related, spec, network))


def _related(spec: Spec, network: str, setting: Setting) -> Graph:
    """The graph of a setting that a spec's network mentions. A name is the catalog's, or else of the same file."""
    if setting.network:
        try:
            spec, network = find(setting.network, setting.place)
        except SpecError:
            raise
        except ArchcalcError:
            if setting.network not in spec.networks():
                raise
            network = setting.network
    return build(spec, network, setting.params, _shape(setting.input), setting.network or network)


def matching(patterns: Sequence[str], broken: Callable[[ArchcalcError], object] | None = None) -> list[str]:
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


def _in_file(path: str, network: str) -> Found:
    spec = read_spec(Path(path))
    known = spec.networks()
    if not network and len(known) == 1:
        return Found(spec, known[0], path)
    if network not in known:
        problem = f"no network {network!r}" if network else f"{len(known)} networks"
        raise ArchcalcError(f"{path} holds {problem}; name one: {', '.join(f'{path}:{n}' for n in known[:8])}")
    return Found(spec, network, path)


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
        found = _found(name)
    except ArchcalcError:  # it is raised where the network is loaded
        return name, ""
    return (found.network, found.path) if found.path else (name, "")


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
    spec, network, path = _found(name)
    title = title or (network if path else name)
    return build(spec, network, _overrides(params), _shape(input), printable(title).replace("\n", "\\n"))


@uncollected
def parse(text: str, /, network: str = "", input: Sequence[int] | None = None, **params: Any) -> Graph:
    """The graph of a spec given as text; `network` picks one of its variants."""
    if not isinstance(text, str) or text.endswith(SUFFIXES):
        given = shorten(repr(text)) if isinstance(text, str | os.PathLike) else type(text).__name__
        raise ArchcalcError(f"parse needs the text of a spec, not {given}; load reads a file")
    spec = parse_spec(text)
    known = spec.networks()
    if network not in known and (network or len(known) > 1):
        raise ArchcalcError(f"the text holds {', '.join(known)}; pick one by `network=`")
    return build(spec, network or known[0], _overrides(params), _shape(input))


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
        evaluate: Evaluate = value_of(Scalar(value, Place(Source(f"--set {name}", value.split("\n")), 1, 1)))
        return evaluate
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
