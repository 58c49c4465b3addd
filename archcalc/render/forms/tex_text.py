"""Text for pdflatex, which knows few characters: others become a command or their number."""

from __future__ import annotations

import re
import unicodedata

SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}", "\n": r"\newline ", "\t": " ",
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", "„": r"\quotedblbase{}",
    "\u00a0": "~", "×": r"$\times$", "·": r"$\cdot$", "−": "$-$", "±": r"$\pm$", "÷": r"$\div$", "≤": r"$\leq$",
    "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "√": r"$\surd$", "∞": r"$\infty$", "→": r"$\rightarrow$",
    "←": r"$\leftarrow$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "⌈": r"$\lceil$", "⌉": r"$\rceil$", "∈": r"$\in$",
    "∑": r"$\sum$", "∏": r"$\prod$", "°": r"\textdegree{}", "µ": r"$\mu$", "⊙": r"$\odot$", "⊕": r"$\oplus$",
    "\u2007": r"\phantom{\textsuperscript{1}}",  # a space as wide as a mark
}  # fmt: skip
KNOWN = re.compile("[ -~¡-¬®-±´-¸º-öø-ĥĨ-ķĹ-ľŁ-ňŊ-ťŨ-žȘ-ț]")  # characters that pdflatex knows
GREEK = re.compile("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
AS_LATIN = {"ALPHA": "A", "BETA": "B", "EPSILON": "E", "ZETA": "Z", "ETA": "H", "IOTA": "I", "KAPPA": "K", "MU": "M",
            "NU": "N", "OMICRON": "O", "RHO": "P", "TAU": "T", "CHI": "X"}  # fmt: skip


def tex(text: str) -> str:
    """Escape a text for LaTeX: no markup, no ligatures, no characters that pdflatex does not know."""
    apart = re.sub(r"([-',])(?=\1)", "\\1\0", unicodedata.normalize("NFC", text))  # two hyphens would become a dash
    return "".join(_sign(sign) for sign in apart).replace("\0", "{}")


def _sign(sign: str) -> str:
    if sign in SIGNS:
        return SIGNS[sign]
    return sign if sign == "\0" or KNOWN.match(sign) else _foreign(sign)


def _foreign(sign: str) -> str:
    """Write a Greek letter as mathematics, a superscript or subscript as such, and others as their numbers."""
    name = unicodedata.name(sign, "")
    kind, _, code = unicodedata.decomposition(sign).partition(" ")
    if greek := GREEK.fullmatch(name):
        return _greek(greek[2].replace("LAMDA", "LAMBDA"), greek[1] == "CAPITAL")
    if kind in ("<super>", "<sub>") and " " not in code:
        return rf"\text{kind[1:-1]}script{{{tex(chr(int(code, 16)))}}}"
    return rf"\texttt{{U+{ord(sign):04X}}}"


def _greek(name: str, capital: bool) -> str:
    if capital or name == "OMICRON":
        latin = AS_LATIN.get(name, "")
        return (latin if capital else latin.lower()) or rf"$\{name.capitalize()}$"
    return rf"$\{name.lower()}$"
