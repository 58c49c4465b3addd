"""Names of networks: patterns, and names as people, papers and libraries write them: `VGG16`, `vgg16_8xb32_in1k`.

Two names are alike if their words and numbers are, whatever stands between them; sizes of networks have one form (tiny
is t). A name may have more words than a network's. The longest network's name in it is meant, and the rest is stated,
except for words that change nothing (`8xb32`, `in1k`, `pretrained`). All networks of that name are listed, those of
papers first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import NamedTuple

MAX_WORDS = 40  # of a name; all runs of its words are looked up
_SAME = {
    "ti": "t", "tiny": "t", "small": "s", "medium": "m", "base": "b", "large": "l", "huge": "h", "wideresnet": "wrn",
    "patch": "", "p": "",
}  # fmt: skip
# Compiled when a name is first searched.
_SIGNS = r"[\s_.-]+"
_WORD = r"wide[\s_-]*resnet|[a-z]+|\d+"
_TIMES = r"×|(?<![a-z])x(?=\d)"  # in 32x4d and x1_0, but not in regnetx400
_NOISE = (
    r"\d*xb\d+|in-?1k|imagenet|1k|\d{3,4}(p|px)?|\d+e|\d+x\d+(x\d+)?|1\.0x?|3rdparty|pre|pretrained|amp|fp16|linear"
    r"|(cos|step)lr|baseline|original|official|model|network|pytorch|torchvision|timm|keras|et|al|x|px|patch16|p16"
)


class Meant(NamedTuple):
    """Networks that a name may mean, the plainest first, and the words of the name that theirs lacks."""

    networks: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


class Names:
    """The names of networks, to be found in others."""

    def __init__(self, networks: Iterable[str]) -> None:
        self.known = sorted((name for name in networks if not name.startswith("blocks/")), key=lambda name: "/" in name)
        self.by_words: dict[str, list[str]] = {}
        for name in self.known:
            self.by_words.setdefault(_joined(_words(name.rpartition("/")[2])), []).append(name)

    def spelled(self, text: str) -> list[str]:
        """Return the networks of the same folder whose words and numbers are those of a name, and nothing else."""
        folder, slash, own = text.rpartition("/")
        same = self.by_words.get(_joined(_words(own)), []) if re.fullmatch(r"[A-Za-z0-9_ .-]+", own) else []
        return [name for name in same if name.rpartition("/")[:2] == (folder.lower(), slash)]

    def find(self, text: str) -> Meant:
        """Return the networks that a name means; none if no network's name is in it.

        Beside other words a network's name must have two words itself, so that `mlp-mixer` is no `mlp`.
        """
        if "/" in text and text in self.known:
            return Meant((text,))
        words, found = _words(text)[:MAX_WORDS], dict[str, Meant]()
        for first, last in combinations(range(len(words) + 1), 2):
            own = _joined(words[first:last])
            if own in self.by_words:
                more = _more(text[: words[first].start] + " " + text[words[last - 1].end :])
                if not more or last - first > 1:
                    sized = (_joined([*words[first:last], word]) for word in words[last:])  # such as swin-b … 384
                    longer = [key for key in sized if key in self.by_words and key[-1:].isdigit()]
                    key = longer[0] if longer else own
                    found.setdefault(key, Meant(tuple(self.by_words[key]), more))
        return found[max(found, key=len)] if found else Meant()


def is_pattern(name: str) -> bool:
    """Whether a name has a sign of patterns, such as `resnet*`."""
    return not set(name).isdisjoint("*?[")


def fits(name: str, pattern: str) -> bool:
    """Whether a network's name matches a pattern, in any case."""
    return fnmatchcase(name.lower(), pattern.lower())


def contains(text: str, word: str) -> bool:
    """Whether a word is in a text, in any case, with or without dashes."""
    own = re.sub(_SIGNS, "", word.lower())
    return bool(own) and own in re.sub(_SIGNS, "", text.lower())


def papers_own(names: Iterable[str]) -> list[str]:
    """Return the names without a folder: networks as in their papers, not those of a library or course."""
    return [name for name in names if "/" not in name]


class _Word(NamedTuple):
    """A word or number of a name in one form, and where it is."""

    text: str
    start: int
    end: int


def _words(text: str) -> list[_Word]:
    plain = re.sub(_TIMES, " ", text.lower())
    found = [_Word(re.sub(r"[\s_-]", "", m[0]), m.start(), m.end()) for m in re.finditer(_WORD, plain)]
    return [word._replace(text=same) for word in found if (same := _SAME.get(word.text, word.text))]


def _joined(words: Sequence[_Word]) -> str:
    """Return the words as one text, with a dot between numbers: 1.6 is not 16."""
    return re.sub(r"(?<=\d) (?=\d)", ".", " ".join(word.text for word in words)).replace(" ", "")


def _more(rest: str) -> tuple[str, ...]:
    """Return the words that say something about a network, of those beside its name."""
    words = re.findall(r"[a-z0-9.+]+", rest.lower().replace("×", "x"))
    return tuple(word for word in dict.fromkeys(words) if not re.fullmatch(_NOISE, word.strip(".")))
