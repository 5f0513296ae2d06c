"""Convolutions that mix space and channels, and one whose kernel's points move.

Dimension letters: B batch, C channels that enter, O channels that leave, H height, W width,
k kernel, n hypercomplex dimension, m kernel points. Without a bias unless a class says otherwise:
a norm follows as a rule, and the primitive `bias` adds one where none does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec, image, windowed


def dense_conv(channels: int, out: int, kernel: int, **options: int) -> nn.Conv2d:
    """A convolution without bias, padded if its kernel is odd.

    Initialised as ResNet is: normal of variance 2 / (O / groups · k²) (He et al., arXiv 1502.01852,
    equation 14).
    """
    dilation, groups = options.get("dilation", 1), options.get("groups", 1)
    layer = nn.Conv2d(
        channels,
        out,
        kernel,
        stride=options.get("stride", 1),
        padding=dilation * (kernel // 2) if kernel % 2 else 0,
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    nn.init.normal_(layer.weight, std=math.sqrt(2 * groups / (out * kernel**2)))
    return layer


class Conv(nn.Module):
    """Dense convolution: the one of ResNet (He et al., arXiv 1512.03385).

    Odd kernels are centred. Even ones are not padded: with the stride equal to the kernel they cut
    the image into patches.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = dense_conv(channels, out, kernel, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, O, H', W']`: see `searchspace.shapes.windowed`."""
        y: Tensor = self.conv(x)
        return y


class GroupedConv(nn.Module):
    """Convolution in groups of a constant width, so their number grows with the channels.

    Jha et al., E2GC (arXiv 2006.15100): C / G groups of G channels each, with G fixed throughout a
    network; a fixed number of groups makes the wide layers costly.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, width_per_group: int
    ) -> None:
        super().__init__()
        groups = channels // width_per_group
        self.conv = dense_conv(channels, out, kernel, stride=stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, O, H', W']`: see `searchspace.shapes.windowed`."""
        y: Tensor = self.conv(x)
        return y


class DilatedConv(nn.Module):
    """Dense convolution with gaps between its kernel's points (Yu & Koltun, arXiv 1511.07122)."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = dense_conv(channels, channels, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        y: Tensor = self.conv(x)
        return y


class HypercomplexConv(nn.Module):
    """Convolution whose weight is a sum of n Kronecker products, so about n times smaller.

    Grassucci et al., PHNN (arXiv 2110.04176): H = Σᵢ Aᵢ ⊗ Fᵢ with the algebra A
    `[n, n, n]` and the filters F `[n, O / n, C / n, k, k]`, both learned, both from Glorot's
    uniform distribution, as in the authors' code. n = 4 holds the quaternions. Has a bias.
    """

    def __init__(self, channels: int, out: int, kernel: int, n: int) -> None:
        super().__init__()
        self.kernel, self.n = kernel, n
        self.algebra = nn.Parameter(torch.empty(n, n, n))
        filters = torch.empty(n, out // n, channels // n, kernel, kernel)
        nn.init.xavier_uniform_(self.algebra)
        nn.init.xavier_uniform_(filters)
        # Four dimensions, [O, C / n, k, k], as modules in channels-last memory need.
        self.filters = nn.Parameter(filters.flatten(0, 1))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, O, H, W]`."""
        # Rows (a, o) and columns (b, c) of the Kronecker products, summed over i.
        filters = self.filters.reshape(self.n, -1, *self.filters.shape[1:])
        weight = torch.einsum("iab,iochw->aobchw", self.algebra, filters)
        weight = weight.flatten(2, 3).flatten(0, 1)
        return F.conv2d(x, weight, self.bias, padding=self.kernel // 2)


class SpacedConv(nn.Module):
    """Depthwise convolution with few weights at learned places within a large kernel.

    Khalfaoui-Hassani et al., DCLS (arXiv 2112.03740): each of m weights is spread over the four
    points around its place by bilinear interpolation, K[i, j] = Σ w · λ(y - i) · λ(x - j) with
    λ(t) = max(0, 1 - |t|). Places start from a normal distribution of deviation 0.5 about the
    centre, are clamped to the kernel, and every channel has its own. ConvNeXt-dcls has k = 17 and
    m = 34. Has a bias.
    """

    def __init__(self, channels: int, kernel: int, points: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(channels, points))
        self.places = nn.Parameter(torch.empty(2, channels, points))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.normal_(self.places, std=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        half = self.kernel // 2
        places = self.places.clamp(-half, half).unsqueeze(-1)
        grid = torch.arange(-half, half + 1, device=places.device, dtype=places.dtype)
        rows, columns = (1 - (places - grid).abs()).clamp(min=0)
        weight = torch.einsum("cm,cmi,cmj->cij", self.weight, rows, columns).unsqueeze(1)
        return F.conv2d(x, weight, self.bias, padding=half, groups=x.shape[1])


def _image(spec: TensorSpec) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"a convolution needs an image; got {spec}")
    return spec


def _same(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    return _image(spec)


def _strided(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    _, height, width = _image(spec).shape
    kernel, stride = int(values["kernel"]), int(values["stride"])
    sizes = (windowed(height, kernel, stride), windowed(width, kernel, stride))
    if min(sizes) < 1:
        raise ShapeError(f"a kernel of {kernel} must fit into the image; got {spec}")
    return image(int(values["out"]), *sizes)


def _grouped(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    width, out = int(values["width_per_group"]), int(values["out"])
    if _image(spec).channels % width:
        raise ShapeError(f"grouped_conv needs a multiple of {width} channels; got {spec}")
    groups = spec.channels // width
    if out % groups:
        raise ShapeError(
            f"grouped_conv in {groups} groups must give a multiple of {groups} channels, "
            f"not {out}; got {spec}"
        )
    return _strided(spec, values, inner)


def _hypercomplex(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    n, out = int(values["n"]), int(values["out"])
    if _image(spec).channels % n or out % n:
        raise ShapeError(
            f"hypercomplex_conv needs channels, {out} of them to leave, in multiples of {n}; "
            f"got {spec}"
        )
    return spec.with_channels(out)


def _arguments(spec: TensorSpec, values: Values) -> Arguments:
    return {"channels": spec.channels, **values}


_OUT, _KERNEL, _STRIDE = (Parameter(name=name) for name in ("out", "kernel", "stride"))
_ODD = Parameter(name="kernel", least=3, odd=True)
_CENTRED = Parameter(name="kernel", odd=True)

PRIMITIVES = (
    Primitive(
        name="conv",
        summary="dense convolution (ResNet, arXiv 1512.03385)",
        module=Conv,
        parameters=(_OUT, _KERNEL, _STRIDE),
        arguments=_arguments,
        result=_strided,
        needs=(dense_conv,),
    ),
    Primitive(
        name="grouped_conv",
        summary="convolution in groups of constant width (E2GC, arXiv 2006.15100)",
        module=GroupedConv,
        parameters=(_OUT, _KERNEL, _STRIDE, Parameter(name="width_per_group")),
        arguments=_arguments,
        result=_grouped,
        needs=(dense_conv,),
    ),
    Primitive(
        name="dilated_conv",
        summary="dense convolution with gaps in its kernel (arXiv 1511.07122)",
        module=DilatedConv,
        parameters=(_ODD, Parameter(name="dilation")),
        arguments=_arguments,
        result=_same,
        needs=(dense_conv,),
    ),
    Primitive(
        name="hypercomplex_conv",
        summary="convolution by a sum of Kronecker products (PHNN, arXiv 2110.04176)",
        module=HypercomplexConv,
        parameters=(_OUT, _CENTRED, Parameter(name="n")),
        arguments=_arguments,
        result=_hypercomplex,
    ),
    Primitive(
        name="spaced_conv",
        summary="depthwise, its weights at learned places (DCLS, arXiv 2112.03740)",
        module=SpacedConv,
        parameters=(_ODD, Parameter(name="points")),
        arguments=_arguments,
        result=_same,
    ),
)
