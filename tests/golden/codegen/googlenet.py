"""googlenet: Going deeper with convolutions (Szegedy et al. 2014, arXiv:1409.4842).

Input 3×224×224, 6,998,552 parameters (and 6,379,728 of side outputs, for training). Written by archcalc 0.2.0.

Load the weights of `other`, made by archcalc.pytorch.build, in their order, because their names differ:

    model.load_state_dict(dict(zip(model.state_dict(), other.state_dict().values())))
"""

import torch
from torch import nn


class ConvReLU(nn.Sequential):
    """Channels: in_channels → channels."""

    def __init__(self, in_channels, channels, kernel, stride=1):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2),
            nn.ReLU(inplace=True),
        )


class Inception(nn.Module):
    """Channels: in_channels → c1 + c3 + c5 + proj."""

    def __init__(self, in_channels, c1, r3, c3, r5, c5, proj):
        super().__init__()
        self.branch1x1 = ConvReLU(in_channels, c1, 1)
        self.branch3x3 = nn.Sequential(ConvReLU(in_channels, r3, 1), ConvReLU(r3, c3, 3))
        self.branch5x5 = nn.Sequential(ConvReLU(in_channels, r5, 1), ConvReLU(r5, c5, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvReLU(in_channels, proj, 1))

    def forward(self, x):
        return torch.cat([self.branch1x1(x), self.branch3x3(x), self.branch5x5(x), self.pool(x)], dim=1)


class Auxiliary(nn.Sequential):
    """Channels: in_channels → classes."""

    def __init__(self, in_channels, classes):
        super().__init__(
            nn.AvgPool2d(5, stride=3),
            ConvReLU(in_channels, 128, 1),
            nn.Flatten(),
            nn.Linear(128 * 4 * 4, 1024),
            nn.ReLU(inplace=True),
            nn.Dropout(0.7),
            nn.Linear(1024, classes),
        )


class GoogLeNet(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.conv1 = ConvReLU(3, 64, 7, stride=2)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = nn.LocalResponseNorm(5)
        self.conv2 = nn.Sequential(ConvReLU(64, 64, 1), ConvReLU(64, 192, 3))
        self.norm2 = nn.LocalResponseNorm(5)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.pool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.head1 = Auxiliary(512, classes=classes)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.head2 = Auxiliary(528, classes=classes)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.pool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(0.4)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x):
        x = self.conv1(x)
        x = self.pool1(x)
        x = self.norm1(x)
        x = self.conv2(x)
        x = self.norm2(x)
        x = self.pool2(x)
        x = self.inception3a(x)
        x = self.inception3b(x)
        x = self.pool3(x)
        x = self.inception4a(x)
        if self.training:
            head1 = self.head1(x)
        x = self.inception4b(x)
        x = self.inception4c(x)
        x = self.inception4d(x)
        if self.training:
            head2 = self.head2(x)
        x = self.inception4e(x)
        x = self.pool4(x)
        x = self.inception5a(x)
        x = self.inception5b(x)
        x = self.avgpool(x)
        x = self.dropout(x)
        x = self.linear(x)
        if self.training:
            return x, head1, head2
        return x
