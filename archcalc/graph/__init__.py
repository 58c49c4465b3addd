"""A network as layers that feed each other, and what can be done with the graph alone."""
