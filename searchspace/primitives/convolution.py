"""Convolutions that mix space: strided, depthwise, dilated re-parameterised, Inception depthwise.

Dimension letters: B batch, C channels, H height, W width. All modules map `[B, C, H, W]`, keep the
memory format (channels-last is the fast one), and initialise as ConvNeXt does: truncated normal of
deviation 0.02, biases zero (Liu et al., arXiv 2201.03545, appendix A).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searchspace.primitives.base import Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec, image, strided


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


class DepthwiseConv(nn.Module):
    """Depthwise convolution with a kernel of 3 to 31 (Ding et al., RepLKNet, arXiv 2203.06717)."""

    def __init__(self, channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.conv = conv2d(channels, channels, kernel, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.conv(x)
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


class InceptionDepthwise(nn.Module):
    """Depthwise convolution in four branches: square, two bands, identity.

    Yu et al., InceptionNeXt (arXiv 2303.16900), section 3.2: an eighth of the channels for each of
    3 x 3, 1 x k and k x 1, the rest unchanged.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        part = max(1, channels // 8)
        self.sizes = [channels - 3 * part, part, part, part]
        self.square = conv2d(part, part, 3, groups=part)
        self.row = conv2d(part, part, (1, kernel), groups=part)
        self.column = conv2d(part, part, (kernel, 1), groups=part)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        rest, a, b, c = torch.split(x, self.sizes, dim=1)
        return torch.cat((rest, self.square(a), self.row(b), self.column(c)), dim=1)


def _image(spec: TensorSpec, name: str) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"{name} needs an image; got {spec}")
    return spec


def _strided(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    _, height, width = _image(spec, "strided_conv").shape
    stride = int(values["stride"])
    return image(int(values["out"]), strided(height, stride), strided(width, stride))


def _same_image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _image(spec, "a spatial mixer")


def _inception(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if _image(spec, "inception_depthwise").channels < 4:
        raise ShapeError(f"inception_depthwise needs 4 channels or more; got {spec}")
    return spec


def _kernel(spec: TensorSpec, values: Values) -> dict[str, int | float | str | bool]:
    return {"channels": spec.channels, "kernel": values["kernel"]}


_ODD = Parameter(name="kernel", least=3, odd=True)

PRIMITIVES = (
    Primitive(
        name="strided_conv",
        summary="dense convolution with overlapping windows (PVT v2, arXiv 2106.13797)",
        module=StridedConv,
        parameters=(Parameter(name="out"), Parameter(name="stride")),
        arguments=lambda spec, v: {
            "channels": spec.channels,
            "out": v["out"],
            "stride": v["stride"],
        },
        result=_strided,
        needs=(conv2d,),
    ),
    Primitive(
        name="depthwise",
        summary="depthwise convolution (RepLKNet, arXiv 2203.06717)",
        module=DepthwiseConv,
        parameters=(_ODD,),
        arguments=_kernel,
        result=_same_image,
        needs=(conv2d,),
    ),
    Primitive(
        name="unbiased_depthwise",
        summary="the same without a bias, for a norm to follow (UniRepLKNet, arXiv 2311.15599)",
        module=DepthwiseConv,
        parameters=(_ODD,),
        arguments=lambda spec, v: {**_kernel(spec, v), "bias": False},
        result=_same_image,
        needs=(conv2d,),
    ),
    Primitive(
        name="dilated_reparam",
        summary="large kernel trained with parallel dilated ones (UniRepLKNet, arXiv 2311.15599)",
        module=DilatedReparam,
        parameters=(Parameter(name="kernel", choices=tuple(DILATED_BRANCHES)),),
        arguments=_kernel,
        result=_same_image,
        merged=("merged",),
        needs=(conv2d,),
    ),
    Primitive(
        name="inception_depthwise",
        summary="square, two bands and identity, split by channels (InceptionNeXt, 2303.16900)",
        module=InceptionDepthwise,
        parameters=(_ODD,),
        arguments=_kernel,
        result=_inception,
        needs=(conv2d,),
    ),
)
