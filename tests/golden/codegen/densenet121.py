"""densenet121: Densely connected convolutional networks (Huang et al. 2016, arXiv:1608.06993).

Input 3×224×224, 7,978,856 parameters. Written by archcalc 0.2.0.

Load the weights of `other`, made by archcalc.pytorch.build, in their order, because their names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))
"""

import torch
from torch import nn


class NormConv(nn.Sequential):
    """Channels: in_channels → channels."""

    def __init__(self, in_channels, channels, kernel):
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False),
        )


class Dense(nn.Module):
    """Channels: in_channels → in_channels + growth."""

    def __init__(self, in_channels, growth):
        super().__init__()
        self.new = nn.Sequential(NormConv(in_channels, 4 * growth, 1), NormConv(4 * growth, growth, 3))

    def forward(self, x):
        return torch.cat([x, self.new(x)], dim=1)


class DenseBlock(nn.Sequential):
    """Channels: in_channels → in_channels + layers * growth."""

    def __init__(self, in_channels, layers, growth):
        blocks = []
        for _ in range(layers):
            blocks.append(Dense(in_channels, growth=growth))
            in_channels = in_channels + growth
        super().__init__(*blocks)


class Transition(nn.Sequential):
    """Channels: in_channels → in_channels // 2."""

    def __init__(self, in_channels):
        super().__init__(
            NormConv(in_channels, in_channels // 2, 1),
            nn.AvgPool2d(2),
        )


class DenseNet121(nn.Sequential):
    def __init__(self, classes=1000, growth=32, depths=(6, 12, 24, 16)):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 2 * growth, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(2 * growth),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.block1 = DenseBlock(2 * growth, depths[0], growth=growth)
        channels = 2 * growth + depths[0] * growth
        self.transition1 = Transition(channels)
        channels = channels // 2
        self.block2 = DenseBlock(channels, depths[1], growth=growth)
        channels = channels + depths[1] * growth
        self.transition2 = Transition(channels)
        channels = channels // 2
        self.block3 = DenseBlock(channels, depths[2], growth=growth)
        channels = channels + depths[2] * growth
        self.transition3 = Transition(channels)
        channels = channels // 2
        self.block4 = DenseBlock(channels, depths[3], growth=growth)
        channels = channels + depths[3] * growth
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, classes),
        )
