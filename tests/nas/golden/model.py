"""Architecture fb669461e2bcb4ab of the space conv_large_kernel.

Maps [B, 3, 32, 32] to [B, 10].

    parameters: 4.32K
    predicted latency: 1.25 ms, from 1 to 1.5 ms, on a100

Importing this file needs torch alone. `python model.py` runs the network once, with the weights in
model.safetensors if they lie beside it (that needs safetensors too).

Dimension letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv2d(channels: int, out: int, kernel: int | tuple[int, int], **options: int) -> nn.Conv2d:
    """A convolution with "same" padding for odd kernels, initialised as in ConvNeXt."""
    size = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    dilation = options.get("dilation", 1)
    padding = (dilation * (size[0] // 2), dilation * (size[1] // 2))
    layer = nn.Conv2d(
        channels,
        out,
        size,
        stride=options.get("stride", 1),
        padding=padding,
        dilation=dilation,
        groups=options.get("groups", 1),
        bias=bool(options.get("bias", 1)),
    )
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class StridedConv(nn.Module):
    """Dense convolution that lowers the resolution, with overlapping windows.

    Kernel 3 for strides 1 and 2, 7 for stride 4: the patch embedding of PVT v2 (Wang et al.,
    arXiv 2106.13797, section 3.2).
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = conv2d(channels, out, max(3, 2 * stride - 1), stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, out, ceil(H / stride), ceil(W / stride)]`."""
        y: Tensor = self.conv(x)
        return y


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over `[B, C, H, W]` (Ioffe & Szegedy, arXiv 1502.03167)."""


class Residual(nn.Module):
    """The input added to what the body makes of it (He et al., arXiv 1512.03385)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the body keeps."""
        y: Tensor = x + self.body(x)
        return y


DILATED_BRANCHES = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}


class DilatedReparam(nn.Module):
    """Depthwise large kernel with parallel dilated small ones, all merged into one for inference.

    Ding et al., UniRepLKNet (arXiv 2311.15599), section 3.1 and table 1: each branch is a
    convolution without bias and a batch norm; their sum equals one convolution of the large kernel.
    """

    def __init__(self, channels: int, kernel: int, merged: bool = False) -> None:
        super().__init__()
        self.channels, self.kernel = channels, kernel
        self.merged: nn.Conv2d | None = None
        if merged:
            self.merged = conv2d(channels, channels, kernel, groups=channels)
            return
        shapes = ((kernel, 1), *DILATED_BRANCHES[kernel])
        self.convs = nn.ModuleList(
            conv2d(channels, channels, k, groups=channels, dilation=d, bias=0) for k, d in shapes
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in shapes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        if self.merged is not None:
            merged: Tensor = self.merged(x)
            return merged
        branches = [norm(conv(x)) for conv, norm in zip(self.convs, self.norms, strict=True)]
        y: Tensor = sum(branches[1:], branches[0])
        return y

    @torch.no_grad()
    def merge(self) -> None:
        """Replace the branches by the one convolution that equals them in eval mode."""
        if self.merged is not None:
            return
        weight = torch.zeros(self.channels, 1, self.kernel, self.kernel)
        bias = torch.zeros(self.channels)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            step = conv.dilation[0]
            reach = step * (conv.kernel_size[0] // 2)
            window = slice(self.kernel // 2 - reach, self.kernel // 2 + reach + 1, step)
            weight, bias = weight.to(scale), bias.to(scale)
            weight[:, :, window, window] += conv.weight * scale[:, None, None, None]
            bias += norm.bias - norm.running_mean * scale
        merged = conv2d(self.channels, self.channels, self.kernel, groups=self.channels)
        self.merged = merged.to(weight)
        self.merged.weight.copy_(weight)
        assert self.merged.bias is not None
        self.merged.bias.copy_(bias)
        del self.convs, self.norms


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of images, tokens or vectors (Ba et al., arXiv 1607.06450)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        if x.dim() != 4:
            return super().forward(x)
        y = F.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return y.permute(0, 3, 1, 2)


NON_LINEARITIES: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class Activation(nn.Module):
    """A point-wise non-linearity by name."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = NON_LINEARITIES[act]()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        y: Tensor = self.act(x)
        return y


class InvertedMLP(nn.Module):
    """Point-wise expansion, activation, point-wise projection (ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, channels: int, ratio: int, act: str) -> None:
        super().__init__()
        self.expand = conv2d(channels, channels * ratio, 1)
        self.act = Activation(act)
        self.project = conv2d(channels * ratio, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.project(self.act(self.expand(x)))
        return y


class LayerScale(nn.Module):
    """A learned factor for each channel, 1e-6 at first (CaiT, arXiv 2103.17239; ConvNeXt)."""

    def __init__(self, channels: int, initial: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]`, `[B, N, D]` or `[B, C]` to the same shape."""
        return x * (self.scale[:, None, None] if x.dim() == 4 else self.scale)


class Shift(nn.Module):
    """A twelfth of the channels moves one pixel in each of four directions, zeros come in.

    Wang et al., ShiftViT (arXiv 2201.10801), section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = max(1, channels // 12)
        self.sizes = [part, part, part, part, channels - 4 * part]

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        left, right, up, down, rest = torch.split(x, self.sizes, dim=1)
        moved = (
            F.pad(left, (-1, 1)),
            F.pad(right, (1, -1)),
            F.pad(up, (0, 0, -1, 1)),
            F.pad(down, (0, 0, 1, -1)),
            rest,
        )
        return torch.cat(moved, dim=1)


class EfficientChannelAttention(nn.Module):
    """Channels weighted by a short convolution along their means (Wang et al., 1910.03151).

    The kernel is the odd number next to (log2 C + 1) / 2, equation 12 there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + 1) / 2))
        size += 1 - size % 2
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        weights: Tensor = self.gate(self.conv(x.mean((2, 3)).unsqueeze(1))).squeeze(1)
        return x * weights[:, :, None, None]


class GlobalPool(nn.Module):
    """Mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C]`."""
        return x.mean((2, 3))


class Classifier(nn.Module):
    """Linear layer to the classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C]` to `[B, classes]`."""
        y: Tensor = self.linear(x)
        return y


# The search chose another precision for these parts. They are in floating point here:
# quantized layers come in a later release.
#   w8a8: stage2.0
class Network(nn.Sequential):
    """Runs its parts in order: [B, 3, 32, 32] to [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        # [B, 3, 32, 32] to [B, 8, 16, 16]
        self.stem = nn.Sequential(StridedConv(3, out=8, stride=2), BatchNorm(8))
        self.stage1 = nn.Sequential(
            *(
                Residual(
                    nn.Sequential(
                        DilatedReparam(8, kernel=7),
                        LayerNorm(8, eps=1e-06),
                        InvertedMLP(8, ratio=4, act="gelu"),
                        LayerScale(8),
                    )
                )
                for _ in range(2)
            )
        )
        # [B, 8, 16, 16] to [B, 8, 8, 8]
        self.down = nn.Sequential(StridedConv(8, out=8, stride=2), LayerNorm(8, eps=1e-06))
        self.stage2 = nn.Sequential(
            nn.Sequential(
                Residual(nn.Sequential(Shift(8), BatchNorm(8))),
                Residual(
                    nn.Sequential(
                        InvertedMLP(8, ratio=2, act="silu"),
                        EfficientChannelAttention(8),
                        LayerScale(8),
                    )
                ),
            )
        )
        # [B, 8, 8, 8] to [B, 10]
        self.head = nn.Sequential(GlobalPool(), LayerNorm(8, eps=1e-06), Classifier(8, classes=10))

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map of each resolution, as detectors and segmenters take them.

        Shapes: [B, 8, 16, 16], [B, 8, 8, 8].
        """
        x1 = self.stage1(self.stem(x))
        x2 = self.stage2(self.down(x1))
        return [x1, x2]

    def merge(self) -> None:
        """Replace parallel branches by the one layer that equals them in eval mode."""
        for module in list(self.modules()):
            if isinstance(module, DilatedReparam):
                module.merge()


def main() -> None:
    """Build the network, load the weights beside this file if there are any, and run it once."""
    network = Network().eval()
    weights = Path(__file__).with_name("model.safetensors")
    if weights.exists():
        from safetensors.torch import load_file

        network.load_state_dict(load_file(weights))
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        y = network(x)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{list(x.shape)} -> {list(y.shape)}, {count:,} parameters")


if __name__ == "__main__":
    main()
