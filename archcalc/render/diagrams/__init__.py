"""A network's graph as boxes and arrows."""
