"""resnet50: Deep residual networks (He et al. 2015, arXiv:1512.03385).

Input 3×224×224, 25,557,032 parameters. Written by archcalc 0.2.0.

Load the weights of `other`, made by archcalc.pytorch.build, in their order, because their names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))
"""

from torch import nn


class ConvBN(nn.Sequential):
    """Channels: in_channels → channels."""

    def __init__(self, in_channels, channels, kernel, stride=1):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
        )


class Bottleneck(nn.Module):
    """Channels: in_channels → 4 * width."""

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            ConvBN(in_channels, width, 1, stride=stride),
            nn.ReLU(inplace=True),
            ConvBN(width, width, 3),
            nn.ReLU(inplace=True),
            ConvBN(width, 4 * width, 1),
        )
        self.skip = nn.Identity() if in_channels == 4 * width else ConvBN(in_channels, 4 * width, 1, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.body(x) + self.skip(x)
        return self.relu(x)


class Stage(nn.Sequential):
    """Channels: in_channels → 4 * width."""

    def __init__(self, in_channels, width, depth, stride=2):
        super().__init__(
            Bottleneck(in_channels, width, stride=stride),
            *[Bottleneck(4 * width, width) for _ in range(depth - 1)],
        )


class ResNet50(nn.Sequential):
    def __init__(self, classes=1000, depths=(3, 4, 6, 3)):
        super().__init__()
        self.stem = nn.Sequential(
            ConvBN(3, 64, 7, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stage1 = Stage(64, 64, depths[0], stride=1)
        self.stage2 = Stage(256, 128, depths[1])
        self.stage3 = Stage(512, 256, depths[2])
        self.stage4 = Stage(1024, 512, depths[3])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))
