"""Compute figures from a graph: cost, receptive fields and memory of its layers and of the network."""
