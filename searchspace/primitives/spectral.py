"""Mixers that work on frequencies: global convolutions, filters and transforms.

Dimension letters: B batch, C channels, H height, W width, N tokens, D features, d parameters of a
kernel's scale. Transforms run in float32 at least. Images are seen as `[B, H, W, C]`, so they leave
channels-last. None adds its input: `residual` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.shapes import ShapeError, TensorSpec


def wide(x: Tensor) -> Tensor:
    """The tensor in float32, or as it is if it is wider; transforms take no narrower type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class GlobalKernel(nn.Module):
    """A kernel for all lags up to a length, both ways, of few parameters that fades with the lag.

    Li et al., SGConv (arXiv 2210.09298), equation 1: [w₀, α w₁, α² w₂, …] in a row, where scale i
    has d parameters, stretched by linear interpolation to d · 2^max(i - 1, 0) lags, and α = 1/2. So
    a length of L takes ceil(log₂(L / d)) + 1 scales. One such kernel for lags 0, 1, … and, as the
    convolution is not causal, another for -1, -2, …, each with a norm of 1 at first, which is what
    the paper's constant Z does.
    """

    def __init__(self, channels: int, length: int, size: int) -> None:
        super().__init__()
        scales = 1 + max(0, math.ceil(math.log2(length / size)))
        weight = torch.randn(2, channels, scales, size)
        spans = torch.tensor([0.25**i * 2.0 ** max(i - 1, 0) for i in range(scales)])
        energy = (weight.square() * spans[:, None]).sum((2, 3), keepdim=True)
        self.weight = nn.Parameter(weight / energy.sqrt())

    def forward(self, length: int, lags: int) -> Tensor:
        """The spectrum of the kernel for a tensor padded to `lags`.

        Args:
            length: size of the tensor before padding; lags of it and more are left out, and those
                beyond the length that the kernel was made for are 0.
            lags: size after padding, at least `2 * length - 1`.

        Returns:
            `[lags, C]`, complex.
        """
        parts = [
            0.5**i * F.interpolate(w, scale_factor=2 ** max(i - 1, 0), mode="linear")
            for i, w in enumerate(wide(self.weight).unbind(2))
        ]
        ahead, behind = torch.cat(parts, dim=-1)[:, :, :length]
        room = lags - ahead.shape[-1] - (behind.shape[-1] - 1)
        kernel = torch.cat(
            (F.pad(ahead, (0, room)), behind[:, : behind.shape[-1] - 1].flip(-1)), -1
        )
        out: Tensor = torch.fft.fft(kernel.T, dim=0)
        return out


class LongSequenceConv(nn.Module):
    """Depthwise convolution over all tokens by the fast Fourier transform, with a bias.

    SGConv (arXiv 2210.09298), not causal; see `GlobalKernel`.
    """

    def __init__(self, channels: int, tokens: int, size: int) -> None:
        super().__init__()
        self.kernel = GlobalKernel(channels, tokens, size)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to the same shape."""
        length, lags = x.shape[1], 2 * x.shape[1]
        # The input is real, so the lower half of the spectrum tells all.
        spectrum = self.kernel(length, lags)[: length + 1]
        mixed = torch.fft.rfft(wide(x), n=lags, dim=1) * spectrum
        out: Tensor = torch.fft.irfft(mixed, n=lags, dim=1)[:, :length].to(x.dtype) + self.bias
        return out


class LongConv(nn.Module):
    """Depthwise convolution over the whole image by the fast Fourier transform, with a bias.

    SGConv (arXiv 2210.09298) in two dimensions: its kernel for columns times its kernel for rows,
    K[c, i, j] = u[c, i] · v[c, j]; see `GlobalKernel`. The product is this project's choice.
    """

    def __init__(self, channels: int, height: int, width: int, size: int) -> None:
        super().__init__()
        self.column = GlobalKernel(channels, height, size)
        self.row = GlobalKernel(channels, width, size)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        height, width = x.shape[2:]
        lags = (2 * height, 2 * width)
        across = self.row(width, lags[1])[: width + 1]
        spectrum = self.column(height, lags[0])[:, None] * across
        mixed = torch.fft.rfft2(wide(x).permute(0, 2, 3, 1), s=lags, dim=(1, 2)) * spectrum
        y = torch.fft.irfft2(mixed, s=lags, dim=(1, 2))[:, :height, :width]
        y = (y.to(x.dtype) + self.bias).permute(0, 3, 1, 2)
        out: Tensor = y.contiguous(memory_format=torch.channels_last)
        return out


class FrequencyFilter(nn.Module):
    """Each frequency weighted by what a small network makes of it.

    Huang et al., AFFNet (arXiv 2307.14008): F⁻¹(M(F(X)) ⊙ F(X)) with the orthonormal transform over
    H and W. M, as in the authors' code, is linear in 8 groups of channels, ReLU on real and
    imaginary part, linear in 8 groups, soft shrinkage by 0.01, all complex; normal start of
    deviation 0.02.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = channels // 8
        self.weight = nn.Parameter(0.02 * torch.randn(32, size, size))
        self.bias = nn.Parameter(0.02 * torch.randn(2, 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        spectrum = torch.fft.rfft2(wide(x).permute(0, 2, 3, 1), dim=(1, 2), norm="ortho")
        real, imaginary = self._linear(0, spectrum.real, spectrum.imag)
        real, imaginary = self._linear(1, real.relu(), imaginary.relu())
        mask = torch.complex(F.softshrink(real, 0.01), F.softshrink(imaginary, 0.01))
        y = torch.fft.irfft2(mask * spectrum, s=x.shape[2:], dim=(1, 2), norm="ortho")
        y = y.to(x.dtype).permute(0, 3, 1, 2)
        out: Tensor = y.contiguous(memory_format=torch.channels_last)
        return out

    def _linear(self, layer: int, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
        """A complex linear layer in groups: `[B, H, W, C]` twice to the same twice."""
        a, b = wide(self.weight)[16 * layer : 16 * layer + 16].chunk(2)
        c, d = wide(self.bias)[layer]
        shape = (*real.shape[:3], 8, -1)
        # [B, H, W, 8, 1, C / 8] by [8, C / 8, C / 8].
        r, i = real.reshape(shape).unsqueeze(-2), imaginary.reshape(shape).unsqueeze(-2)
        left = (torch.matmul(r, a) - torch.matmul(i, b)).flatten(3)
        right = (torch.matmul(i, a) + torch.matmul(r, b)).flatten(3)
        return left + c, right + d


class DCTMixer(nn.Module):
    """Bands of cosine frequencies weighted by what a small network makes of the image.

    After Hu et al., Dynamic Spectrum Mixer (arXiv 2309.06721): the orthonormal discrete cosine
    transform (type II) over H and W, a weight for each band and channel that depends on the image,
    and the transform back. This project's choices: the band of the frequency (u, v) is
    floor(bands · max(u / H, v / W)), and the weights are sigmoids, doubled so that they start near
    1, of layers C → C / 4 → C · bands, with ReLU, of the channels' means. The transform is a
    product with its matrix, H + W multiply-adds for each value.
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        hidden = max(8, channels // 4)
        self.bands = bands
        self.squeeze = nn.Linear(channels, hidden)
        self.select = nn.Linear(hidden, channels * bands)
        nn.init.trunc_normal_(self.select.weight, std=0.02)
        nn.init.zeros_(self.select.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        batch, channels, height, width = x.shape
        down, across = self._cosines(x, height), self._cosines(x, width)
        weights = self.select(self.squeeze(x.mean((2, 3))).relu()).sigmoid() * 2
        # One-hot bands, [H, W, bands]: an index would need to copy the weights.
        steps = torch.maximum(self._steps(x, height)[:, None], self._steps(x, width))
        numbers = torch.arange(self.bands, device=x.device, dtype=torch.float32)
        chosen = ((steps * self.bands).floor().unsqueeze(-1) == numbers).to(x.dtype)
        mask = torch.matmul(chosen, weights.reshape(batch, 1, channels, -1).transpose(2, 3))
        spectrum = torch.einsum("uh,vw,bchw->buvc", down, across, x) * mask
        y = torch.einsum("uh,vw,buvc->bchw", down, across, spectrum)
        return y.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def _steps(x: Tensor, size: int) -> Tensor:
        """0, 1 / size, … (size - 1) / size."""
        return torch.arange(size, device=x.device, dtype=torch.float32) / size

    @staticmethod
    def _cosines(x: Tensor, size: int) -> Tensor:
        """The matrix of the transform: √(2 / n) · cos(π u (2i + 1) / 2n), row 0 over √2."""
        index = torch.arange(size, device=x.device, dtype=wide(x).dtype)
        matrix = torch.cos(math.pi / size * index[:, None] * (index + 0.5)) * (2 / size) ** 0.5
        scale = torch.where(index == 0, 0.5**0.5, 1.0)
        out: Tensor = (matrix * scale[:, None]).to(x.dtype)
        return out


class Fourier(nn.Module):
    """Real part of the Fourier transform over positions and channels; no parameters.

    Lee-Thorp et al., FNet (arXiv 2105.03824), equation 3. Orthonormal, so that deep stacks stay in
    range: the paper's is larger by the square root of the number of values, which its norms remove.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` or `[B, N, D]` to the same shape."""
        if x.dim() == 3:
            out: Tensor = torch.fft.fft2(wide(x), norm="ortho").real.to(x.dtype)
            return out
        rows = wide(x).permute(0, 2, 3, 1)
        y = torch.fft.fftn(rows, dim=(1, 2, 3), norm="ortho").real.to(x.dtype)
        out = y.permute(0, 3, 1, 2)
        return out.contiguous(memory_format=torch.channels_last)


def _image(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "image":
        raise ShapeError(f"this spectral mixer needs an image; got {spec}")
    return spec


def _tokens(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode != "tokens":
        raise ShapeError(f"long_sequence_conv needs tokens; got {spec}")
    return spec


def _eighths(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if _image(spec, values, inner).channels % 8:
        raise ShapeError(f"frequency_filter needs a multiple of 8 channels; got {spec}")
    return spec


def _positions(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    if spec.mode == "vector":
        raise ShapeError(f"fourier needs an image or tokens; got {spec}")
    return spec


def _area(spec: TensorSpec, values: Values) -> Arguments:
    channels, height, width = spec.shape
    return {"channels": channels, "height": height, "width": width, "size": values["size"]}


PRIMITIVES = (
    Primitive(
        name="long_conv",
        summary="depthwise over the whole image, by FFT (SGConv, arXiv 2210.09298)",
        module=LongConv,
        parameters=(Parameter(name="size"),),
        arguments=_area,
        result=_image,
        needs=(wide, GlobalKernel),
    ),
    Primitive(
        name="long_sequence_conv",
        summary="depthwise over all tokens, by FFT (SGConv, arXiv 2210.09298)",
        module=LongSequenceConv,
        parameters=(Parameter(name="size"),),
        arguments=lambda spec, v: {
            "channels": spec.channels,
            "tokens": spec.shape[0],
            "size": v["size"],
        },
        result=_tokens,
        needs=(wide, GlobalKernel),
    ),
    Primitive(
        name="frequency_filter",
        summary="frequencies weighted by a network of themselves (AFFNet, arXiv 2307.14008)",
        module=FrequencyFilter,
        arguments=lambda spec, v: {"channels": spec.channels},
        result=_eighths,
        needs=(wide,),
    ),
    Primitive(
        name="dct_mixer",
        summary="bands of cosine frequencies weighted by the image (DSM, arXiv 2309.06721)",
        module=DCTMixer,
        parameters=(Parameter(name="bands"),),
        arguments=lambda spec, v: {"channels": spec.channels, "bands": v["bands"]},
        result=_image,
        needs=(wide,),
    ),
    Primitive(
        name="fourier",
        summary="real part of the Fourier transform (FNet, arXiv 2105.03824)",
        module=Fourier,
        arguments=lambda spec, v: {},
        result=_positions,
        needs=(wide,),
    ),
)
