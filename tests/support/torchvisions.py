"""The networks whose modules torchvision has."""

from archcalc import load


def torchvisions(name, side=None):
    """Load a network by torchvision's name, perhaps for images of another side."""
    return load(f"torchvision/{name}", input=side and (3, side, side))
