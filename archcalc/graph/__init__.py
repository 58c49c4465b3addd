"""A network as a graph of operators, and transformations of the graph alone."""
