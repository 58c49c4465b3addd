"""The networks whose modules torchvision has."""

from pathlib import Path

from archcalc import load

MOBILENET = Path(__file__).parents[2] / "bench" / "mobilenet_v2.yaml"  # the zoo has none


def torchvisions(name, side=None):
    """Load a network by torchvision's name, perhaps for images of another side."""
    source = str(MOBILENET) if name == MOBILENET.stem else f"torchvision/{name}"
    return load(source, input=side and (3, side, side))
