"""Networks in flax, which has none of its own: AlexNet and ResNet-50 as torchvision has them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen


class AlexNet(linen.Module):
    """torchvision's alexnet."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        layers = (64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False)
        for channels, kernel, stride, padding, pools in (*layers, (256, 3, 1, 1, True)):
            x = linen.relu(linen.Conv(channels, (kernel, kernel), stride, padding)(x))
            x = linen.max_pool(x, (3, 3), (2, 2)) if pools else x
        x = x.reshape(len(x), -1)
        for features in (4096, 4096):
            x = linen.relu(linen.Dense(features)(x))
        return linen.Dense(1000)(x)


class ResNet50(linen.Module):
    """torchvision's resnet50."""

    def normed(self, x: Any, channels: int, kernel: int, stride: int = 1) -> Any:
        x = linen.Conv(channels, (kernel, kernel), stride, kernel // 2, use_bias=False)(x)
        return linen.BatchNorm(use_running_average=True)(x)

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.relu(self.normed(x, 64, 7, 2))
        x = linen.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, depth in enumerate((3, 4, 6, 3)):
            for block in range(depth):
                width, stride = 64 * 2**stage, 2 if stage and not block else 1
                y = linen.relu(self.normed(x, width, 1))
                y = linen.relu(self.normed(y, width, 3, stride))
                y = self.normed(y, 4 * width, 1)
                x = linen.relu(y + (x if block else self.normed(x, 4 * width, 1, stride)))
        return linen.Dense(1000)(x.mean((1, 2)))


def network(name: str) -> tuple[linen.Module, Any]:
    """Return a module and an image. Raises ValueError for another network."""
    modules = {"alexnet": AlexNet, "resnet50": ResNet50}
    if name not in modules:
        raise ValueError(f"flax has no {name}, and bench/flax_networks.py neither")
    return modules[name](), jnp.zeros((1, 224, 224, 3))
