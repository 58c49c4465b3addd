"""blocks/residual-bottleneck: Residual blocks of similar cost, basic and bottleneck (He et al. 2015, arXiv:1512.03385).

Input 256×56×56, 69,632 parameters. Written by archcalc 0.2.0.

Load the weights of `other`, made by archcalc.pytorch.build, in their order, because their names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))
"""

from torch import nn


class ConvNorm(nn.Sequential):
    """Channels: in_channels → channels."""

    def __init__(self, in_channels, channels, kernel):
        super().__init__(nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False))


class Bottleneck(nn.Sequential):
    """Channels: in_channels → 256."""

    def __init__(self, in_channels):
        super().__init__(
            ConvNorm(in_channels, 64, 1),
            nn.ReLU(inplace=True),
            ConvNorm(64, 64, 3),
            nn.ReLU(inplace=True),
            ConvNorm(64, 256, 1),
        )


class ResidualBottleneck(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Bottleneck(256)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.body(x) + x
        return self.relu(x)
