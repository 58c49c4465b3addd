"""Pictures. Each is two steps, as tables are: what is shown (figures, without matplotlib), then how it is drawn.

matplotlib is imported where a picture is drawn, and without its global state: no display is needed, and a program that
uses it keeps its own settings.
"""

from archcalc.render.pictures.sheets import SUFFIXES, Sheet, sheet

__all__ = ["SUFFIXES", "Sheet", "sheet"]
