"""blocks/residual-bottleneck: Residual blocks of similar cost, basic and bottleneck (He et al. 2015, arXiv:1512.03385).

Input 256×56×56, 69,632 parameters. Written by archcalc 0.1.0.

Weights of `other`, made by archcalc.pytorch.build, go in by their order, since names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))
"""

from torch import nn


def conv_norm(in_channels, channels, kernel):
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)


class Bottleneck(nn.Sequential):
    """Channels: in_channels → channels."""

    def __init__(self, in_channels, channels):
        super().__init__(
            conv_norm(in_channels, channels // 4, 1),
            nn.ReLU(inplace=True),
            conv_norm(channels // 4, channels // 4, 3),
            nn.ReLU(inplace=True),
            conv_norm(channels // 4, channels, 1),
        )


class ResidualBottleneck(nn.Module):
    def __init__(self, channels=256):
        super().__init__()
        self.body = Bottleneck(channels, channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.body(x) + x
        return self.relu(x)
