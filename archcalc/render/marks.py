"""Marks of notes: letters, and numbers after them, as superscripts that are the same text in every format."""

from __future__ import annotations

LETTERS = "abcdefghijklmnoprstuvwxyz"  # there is no superscript q
SUPERSCRIPTS = str.maketrans(LETTERS + "0123456789", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ⁰¹²³⁴⁵⁶⁷⁸⁹")


def letter(position: int) -> str:
    """Return ᵃ, ᵇ, … ᶻ, ᵃᵃ, ᵃᵇ, …"""
    before, last = divmod(position, len(LETTERS))
    return (letter(before - 1) if before else "") + superscript(LETTERS[last])


def superscript(mark: str | int) -> str:
    """Write a mark in superscripts: `b1` → `ᵇ¹`."""
    return str(mark).translate(SUPERSCRIPTS)


def marked(text: str, mark: str, width: int) -> str:
    """Put a mark after a figure; a mark of less than `width` signs gets the space of the missing ones."""
    return text + mark + "\u2007" * (width - len(mark))
