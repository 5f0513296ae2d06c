"""Triton kernel of the long convolution: the Fourier transform as matrix products.

Fu et al., FlashFFTConv (arXiv 2311.05908), section 3.1: the Monarch decomposition of order 2. With
n = N1 N2, time t = N2 a + b and frequency f = c + N1 d, the transform of x is
(F1 x ⊙ T) F2, where F1 and F2 are Fourier matrices of N1 and N2, T[c, b] = exp(-2πi b c / n), and x
is seen as [a, b]. Its inverse runs backwards with conjugates, so that no order need be restored.
Two real sequences are the real and the imaginary part of a complex one: the kernel is real, so
their convolutions come out apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from kernels.activation_triton import capability
from kernels.launch_triton import launch
from kernels.long_conv_blocks import (
    PROGRAMS,
    STAGES,
    blocks_for,
    long_conv_constants,
    transform_size,
)


@triton.jit  # type: ignore[untyped-decorator]
def long_conv_kernel(
    x_ptr: tl.tensor,  # [batch, channels, length]
    spectrum_ptr: tl.tensor,  # [2, channels, ROWS, COLUMNS], float32: real, imaginary, over n
    tables_ptr: tl.tensor,  # float32: F1, F2 and T, real and imaginary; see `_tables`
    bias_ptr: tl.tensor,  # [channels]; not read unless HAS_BIAS
    y_ptr: tl.tensor,  # [batch, channels, length]
    batch: tl.tensor,
    channels: tl.tensor,
    length: tl.tensor,
    pairs_per_program: tl.tensor,
    HAS_BIAS: tl.constexpr,
    CONJUGATE: tl.constexpr,  # of the spectrum, for the gradient
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Convolve pairs of sequences of one channel."""
    program = tl.program_id(0)
    channel = (program % channels).to(tl.int64)
    first_pair = program // channels * pairs_per_program
    row = tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    time = row[:, None] * COLUMNS + column[None, :]
    f1 = row[:, None] * ROWS + row[None, :]
    f2 = column[:, None] * COLUMNS + column[None, :]
    F2_START: tl.constexpr = 2 * ROWS * ROWS
    T_START: tl.constexpr = F2_START + 2 * COLUMNS * COLUMNS
    SIZE: tl.constexpr = ROWS * COLUMNS

    mask = time < length

    f1_real = tl.load(tables_ptr + f1)
    f1_imag = tl.load(tables_ptr + ROWS * ROWS + f1)
    f2_real = tl.load(tables_ptr + F2_START + f2)
    f2_imag = tl.load(tables_ptr + F2_START + COLUMNS * COLUMNS + f2)
    bias = 0.0
    if HAS_BIAS:
        bias = tl.load(bias_ptr + channel).to(tl.float32)
    pairs = tl.cdiv(batch, 2)
    for pair in range(first_pair, tl.minimum(first_pair + pairs_per_program, pairs)):
        offset = (2 * pair * channels + channel) * length + time
        other = ((2 * pair + 1) * channels + channel) * length + time
        # The last of an odd number of sequences is alone.
        other_mask = time < length * tl.minimum(batch - 2 * pair - 1, 1)
        real = tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        imag = tl.load(x_ptr + other, mask=other_mask, other=0.0).to(tl.float32)
        # What is not finite spoils its own sequence, and must not reach its partner.
        spoilt_real, spoilt_imag = real * 0.0, imag * 0.0
        real = tl.where(spoilt_real == 0.0, real, 0.0)
        imag = tl.where(spoilt_imag == 0.0, imag, 0.0)
        real_offset = bias + tl.sum(tl.sum(spoilt_real, axis=1), axis=0)
        imag_offset = bias + tl.sum(tl.sum(spoilt_imag, axis=1), axis=0)

        a_real = tl.dot(f1_real, real, input_precision=PRECISION)
        a_real -= tl.dot(f1_imag, imag, input_precision=PRECISION)
        a_imag = tl.dot(f1_real, imag, input_precision=PRECISION)
        a_imag += tl.dot(f1_imag, real, input_precision=PRECISION)
        t_real = tl.load(tables_ptr + T_START + time)
        t_imag = tl.load(tables_ptr + T_START + SIZE + time)
        real = a_real * t_real - a_imag * t_imag
        imag = a_real * t_imag + a_imag * t_real
        a_real = tl.dot(real, f2_real, input_precision=PRECISION)
        a_real -= tl.dot(imag, f2_imag, input_precision=PRECISION)
        a_imag = tl.dot(real, f2_imag, input_precision=PRECISION)
        a_imag += tl.dot(imag, f2_real, input_precision=PRECISION)

        k_real = tl.load(spectrum_ptr + channel * SIZE + time)
        k_imag = tl.load(spectrum_ptr + (channels + channel) * SIZE + time)
        if CONJUGATE:
            k_imag = -k_imag
        real = a_real * k_real - a_imag * k_imag
        imag = a_real * k_imag + a_imag * k_real

        a_real = tl.dot(real, f2_real, input_precision=PRECISION)
        a_real += tl.dot(imag, f2_imag, input_precision=PRECISION)
        a_imag = tl.dot(imag, f2_real, input_precision=PRECISION)
        a_imag -= tl.dot(real, f2_imag, input_precision=PRECISION)
        t_real = tl.load(tables_ptr + T_START + time)
        t_imag = tl.load(tables_ptr + T_START + SIZE + time)
        real = a_real * t_real + a_imag * t_imag
        imag = a_imag * t_real - a_real * t_imag
        a_real = tl.dot(f1_real, real, input_precision=PRECISION)
        a_real += tl.dot(f1_imag, imag, input_precision=PRECISION)
        a_imag = tl.dot(f1_real, imag, input_precision=PRECISION)
        a_imag -= tl.dot(f1_imag, real, input_precision=PRECISION)

        y_type = y_ptr.dtype.element_ty
        tl.store(y_ptr + offset, (a_real + real_offset).to(y_type), mask=mask)
        tl.store(y_ptr + other, (a_imag + imag_offset).to(y_type), mask=other_mask)


def long_conv_triton(x: Tensor, kernel: Tensor, bias: Tensor | None, *, causal: bool) -> Tensor:
    """Run `long_conv` on the Triton kernel; the arguments are its own, checked."""
    length, taps = x.shape[2], kernel.shape[1]
    size = transform_size(length, taps, causal=causal)
    wide = kernel.float()
    if causal:
        lags = functional.pad(wide[:, :length], (0, size - min(taps, length)))
    elif taps == size:
        lags = wide
    else:
        room = wide.new_zeros((wide.shape[0], size - (2 * length - 1)))
        lags = torch.cat((wide[:, :length], room, wide[:, taps - length + 1 :]), dim=1)
    inputs = [tensor for tensor in (x, lags, bias) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        apply: Callable[..., Tensor] = _LongConv.apply
        return apply(x, lags, bias)
    return _convolve(x.contiguous(), _spectrum(lags, x), bias, conjugate=False)


class _LongConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lags: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous()
        spectrum = _spectrum(lags, x)
        ctx.save_for_backward(x, spectrum)
        ctx.size = lags.shape[1]
        return _convolve(x, spectrum, bias, conjugate=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, spectrum = ctx.saved_tensors
        grad = grad.contiguous()
        x_grad = lags_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = _convolve(grad, spectrum, None, conjugate=True)
        if ctx.needs_input_grad[1]:
            # The correlation of input and gradient, summed over the batch as spectra.
            seen = torch.fft.rfft(x.float(), n=ctx.size)
            wanted = torch.fft.rfft(grad.float(), n=ctx.size)
            lags_grad = torch.fft.irfft((seen.conj() * wanted).sum(0), n=ctx.size)
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum((0, 2), dtype=torch.float32).to(grad.dtype)
        return x_grad, lags_grad, bias_grad


def _spectrum(lags: Tensor, x: Tensor) -> Tensor:
    """Return the transform of `[C, n]` lags over n: `[2, C, N1, N2]`, c + N1 d at [c, d]."""
    channels, size = lags.shape
    blocks = blocks_for(capability(x), x.dtype != torch.float32, size)
    planes = torch.view_as_real(torch.fft.fft(lags) / size).permute(2, 0, 1)
    return planes.reshape(2, channels, blocks.columns, blocks.rows).transpose(2, 3).contiguous()


def _convolve(x: Tensor, spectrum: Tensor, bias: Tensor | None, *, conjugate: bool) -> Tensor:
    batch, channels, length = x.shape
    rows, columns = spectrum.shape[2:]
    blocks = blocks_for(capability(x), x.dtype != torch.float32, rows * columns)
    y = torch.empty_like(x)
    pairs = -(-batch // 2)
    per_program = triton.cdiv(pairs, triton.cdiv(PROGRAMS, channels))
    launch(
        long_conv_kernel,
        channels * triton.cdiv(pairs, per_program),
        (
            *(x, spectrum, _tables(rows, columns, x.device), y if bias is None else bias, y),
            *(batch, channels, length, per_program),
        ),
        long_conv_constants(
            half=x.dtype != torch.float32,
            has_bias=bias is not None,
            conjugate=conjugate,
            blocks=blocks,
        ),
        warps=blocks.warps,
        stages=STAGES,
    )
    return y


@lru_cache(maxsize=16)
def _tables(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return F1, F2 and T one behind the other, the real part before the imaginary, in float32."""
    parts = []
    for first, second, period in (
        (rows, rows, rows),
        (columns, columns, columns),
        (rows, columns, rows * columns),
    ):
        places = torch.arange(first, dtype=torch.float64)[:, None] * torch.arange(second)
        angles = places * (-2 * math.pi / period)
        parts += [angles.cos().flatten(), angles.sin().flatten()]
    return torch.cat(parts).float().to(device)
