"""A graph becomes figures: what its layers and the network cost, see and keep."""
