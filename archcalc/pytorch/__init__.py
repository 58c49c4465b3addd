"""The networks in PyTorch: the only package that imports torch."""
