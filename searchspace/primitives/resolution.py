"""Layers that decide the resolution: patches, pools from the first pixel on, resizing.

Dimension letters: B batch, C channels, O channels that leave, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.convolution import conv2d
from searchspace.shapes import ShapeError, TensorSpec, image, strided


class PatchConv(nn.Module):
    """Patches that do not overlap, each projected to a pixel, with a bias.

    The stem (4 x 4) and the downsampling (2 x 2) of ConvNeXt (Liu et al., arXiv 2201.03545, section
    2). An image that patches do not fill is padded with zeros on the right and at the bottom.
    """

    def __init__(self, channels: int, out: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.conv = conv2d(channels, out, patch, stride=patch)
        self.conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, O, ceil(H / patch), ceil(W / patch)]`."""
        right, bottom = -x.shape[3] % self.patch, -x.shape[2] % self.patch
        if right or bottom:
            x = F.pad(x, (0, right, 0, bottom))
        y: Tensor = self.conv(x)
        return y


class CeilMaxPool(nn.Module):
    """Largest value of each window, the first at the first pixel; the last may reach beyond.

    The pool between VoVNet's stages (Lee et al., arXiv 1904.09730), 3 x 3 at stride 2. ResNet's has
    its windows centred one pixel further up and left.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H', W']`, H' = ceil((H - kernel) / stride) + 1."""
        return F.max_pool2d(x, self.kernel, stride=self.stride, ceil_mode=True)


class Resize(nn.Module):
    """The image at another resolution, by bilinear interpolation.

    What TinyNet (Han et al., arXiv 2010.14819) does outside of its networks: the resolution of the
    input as one of three factors of the cost.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, height, width]`."""
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)


def _image(spec: TensorSpec) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"this layer needs an image; got {spec}")
    return spec


def _patched(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    _, height, width = _image(spec).shape
    patch = int(values["patch"])
    return image(int(values["out"]), strided(height, patch), strided(width, patch))


def _ceiled(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    channels, height, width = _image(spec).shape
    kernel, stride = int(values["kernel"]), int(values["stride"])
    # Torch leaves out a last window that would begin beyond the image.
    sizes = [
        min(strided(size - kernel, stride) + 1, strided(size, stride)) for size in (height, width)
    ]
    if min(sizes) < 1:
        raise ShapeError(f"a window of {kernel} at stride {stride} needs more pixels; got {spec}")
    return image(channels, *sizes)


def _resized(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    channels, height, width = _image(spec).shape
    permille = int(values["permille"])
    return image(channels, *(max(1, size * permille // 1000) for size in (height, width)))


def _to_size(spec: TensorSpec, values: Values) -> Arguments:
    _, height, width = _resized(spec, values, ()).shape
    return {"height": height, "width": width}


PRIMITIVES = (
    Primitive(
        name="patch_conv",
        summary="patches without overlap, each projected to a pixel (ConvNeXt, arXiv 2201.03545)",
        module=PatchConv,
        parameters=(Parameter(name="out"), Parameter(name="patch")),
        arguments=lambda spec, v: {"channels": spec.channels, **v},
        result=_patched,
        needs=(conv2d,),
    ),
    Primitive(
        name="ceil_max_pool",
        summary="largest value of each window from the first pixel on (VoVNet, arXiv 1904.09730)",
        module=CeilMaxPool,
        parameters=(Parameter(name="kernel"), Parameter(name="stride")),
        arguments=lambda spec, v: dict(v),
        result=_ceiled,
    ),
    Primitive(
        name="resize",
        summary="the image at another resolution (TinyNet, arXiv 2010.14819)",
        module=Resize,
        parameters=(Parameter(name="permille"),),
        arguments=_to_size,
        result=_resized,
    ),
)
