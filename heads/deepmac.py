"""Part one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

HOURGLASSES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    10: ((2, 2), (1, 1)),
    20: ((2, 2, 3), (1, 2, 2)),
    32: ((2, 2, 3, 3), (2, 2, 2, 2)),
    52: ((2, 2, 3, 3, 3, 4), (2, 2, 2, 2, 2, 4)),
    100: ((2, 2, 3, 3, 3, 4), (4, 4, 4, 4, 4, 8)),
}
"""Layers -> channels of each stage in units of `width`, outermost first, and residual blocks of each."""


class Norm(nn.BatchNorm2d):
    """Batch norm. Where, in training, a channel has one value, it has no variance, and the running one serves."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False), Norm(out_channels)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a skip, which has a 1x1 convolution where the stride or the width changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and in_channels == out_channels
        self.conv1 = conv_norm(in_channels, out_channels, stride=stride)
        self.conv2 = conv_norm(out_channels, out_channels)
        self.skip = nn.Identity() if same else conv_norm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h / stride, w / stride)."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.skip(x))


def residuals(in_channels: int, widths: Sequence[int], stride: int = 1) -> nn.Sequential:
    """Residual blocks of those widths; the first has the stride."""
    before = [in_channels, *widths[:-1]]
    return nn.Sequential(*(Residual(*pair, 1 if i else stride) for i, pair in enumerate(zip(before, widths))))


class Stage(nn.Module):
    """Residual blocks at one resolution, and beside them the half resolution with every stage below it.

    Args:
        widths: Channels of this stage and of each below it, two or more.
        blocks: Residual blocks of each.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        (here, below), n = widths[:2], blocks[0]
        self.upper = residuals(here, [here] * n)
        self.down = residuals(here, [below] * n, stride=2)
        self.inner = Stage(widths[1:], blocks[1:]) if len(widths) > 2 else residuals(below, [below] * blocks[1])
        self.up = residuals(below, [below] * (n - 1) + [here])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same."""
        lower: Tensor = self.up(self.inner(self.down(x)))
        return self.upper(x) + F.interpolate(lower, scale_factor=2.0, mode="nearest")


class Hourglass(nn.Module):
    """One hourglass that does not shrink its input first.

    Args:
        in_channels: C.
        depth: Convolutions on the longest way through, a key of `HOURGLASSES`.
        width: Channels of the first convolution.
    """

    def __init__(self, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        units, blocks = HOURGLASSES[depth]
        widths = [width * unit for unit in units]
        self.conv_in = conv_norm(in_channels, width)
        self.residual = Residual(width, widths[0])
        self.stages = Stage(widths, blocks)
        self.conv_out = conv_norm(widths[0], widths[0])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, s, s) -> (N, 2 width, s, s)."""
        x = self.residual(F.relu(self.conv_in(x)))
        return F.relu(self.conv_out(self.stages(x)))


class DeepMaskHead(nn.Module):
    """An hourglass, one step of upsampling, one map: a mask, whatever the class.

    Args:
        in_channels: C.
        depth: As of `Hourglass`.
        width: As of `Hourglass`.
    """

    def __init__(self, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(in_channels, depth, width)
        self.upsample = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.norm = Norm(width, eps=1e-4)
        self.mask = nn.Conv2d(width, 1, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, C, s, s) -> logits (N, 2s, 2s)."""
        x = F.relu(self.norm(self.upsample(self.hourglass(crops))))
        logits: Tensor = self.mask(x)[:, 0]
        return logits
