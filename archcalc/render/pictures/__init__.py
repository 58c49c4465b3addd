"""Pictures, in two steps: select what to show (without matplotlib), then draw it.

matplotlib is imported when a picture is drawn, and its global state is not used: no display is needed, and a program
that uses matplotlib keeps its own settings.
"""

from archcalc.render.pictures.sheets import SUFFIXES, Look, Sheet, sheet

__all__ = ["SUFFIXES", "Look", "Sheet", "sheet"]
