"""Seed PyTorch's random numbers."""

import torch


def seed_torch(number: int) -> None:
    """Seed the numbers on the CPU. `torch.manual_seed` seeds GPUs too, and for each kind of them formats the stack."""
    torch.default_generator.manual_seed(number)
