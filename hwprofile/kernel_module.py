"""One kernel as a module of one layer with its inputs, for whoever can only measure modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hwprofile.kernel import Kernel

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Element type of a scheme; the quantized ones have no layer in plain torch."""


class _Elementwise(nn.Module):
    """As many operands as the kernel reads."""

    def forward(self, *operands: Tensor) -> Tensor:
        """The sum, or for one operand its positive part."""
        if len(operands) == 1:
            return torch.relu(operands[0])
        return operands[0] + operands[1]


class _Product(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Products of `[groups, m, k]` by `[groups, k, n]`."""
        return left @ right


class _Mean(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        """The mean of each row."""
        return rows.mean(-1)


class _Copy(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        """A copy with its elements elsewhere, as a plain one might not be made."""
        return rows.roll(1)


class _Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of `[groups, m, n]` over `[groups, k, n]`."""
        return nn.functional.scaled_dot_product_attention(query, key, value)


def module_of(kernel: Kernel) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module in evaluation whose forward does what a kernel does, and random inputs.

    What was fused into the kernel is left out; images are as square as their size allows.

    Raises:
        ValueError: the kernel's scheme is a quantized one.
    """
    dtype = DTYPES.get(kernel.scheme)
    if dtype is None:
        raise ValueError(
            f"a layer to be measured needs one of {', '.join(DTYPES)}; got '{kernel.scheme}'"
        )
    module, shapes = _parts(kernel)
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return module.to(dtype).eval(), inputs


def _parts(kernel: Kernel) -> tuple[nn.Module, list[tuple[int, ...]]]:
    m, n, k, groups = kernel.m, kernel.n, kernel.k, kernel.groups
    match kernel.op:
        case "gemm" if groups == 1:
            return nn.Linear(k, n, bias=False), [(m, k)]
        case "gemm":
            return _Product(), [(groups, m, k), (groups, k, n)]
        case "conv2d" | "depthwise_conv2d":
            return _convolution(kernel)
        case "layer_norm":
            return nn.LayerNorm(n), [(m, n)]
        case "softmax":
            return nn.Softmax(-1), [(m, n)]
        case "reduce":
            return _Mean(), [(m, n)]
        case "pool":
            return _pool(kernel)
        case "copy":
            return _Copy(), [(m,)]
        case "other" if k > 1:
            return _Attention(), [(groups, m, n), (groups, k, n), (groups, k, n)]
    size = DTYPES[kernel.scheme].itemsize
    operands = 2 if kernel.read_bytes > 1.5 * m * size else 1
    return _Elementwise(), [(m,)] * operands


def _convolution(kernel: Kernel) -> tuple[nn.Module, list[tuple[int, ...]]]:
    window, stride = _sides(kernel.taps), kernel.stride
    channels = kernel.k // kernel.taps * kernel.groups
    padding = tuple(side // 2 for side in window)
    module = nn.Conv2d(
        channels,
        kernel.n * kernel.groups,
        window,
        stride,
        padding,  # type: ignore[arg-type]
        groups=kernel.groups,
        bias=False,
    )
    height, width = _sides(kernel.m)
    return module, [(1, channels, height * stride, width * stride)]


def _pool(kernel: Kernel) -> tuple[nn.Module, list[tuple[int, ...]]]:
    window, stride = _sides(kernel.taps), kernel.stride
    height, width = _sides(kernel.m)
    module = nn.AvgPool2d(window, stride, tuple(side // 2 for side in window))  # type: ignore[arg-type]
    return module, [(1, 1, height * stride, width * stride)]


def _sides(product: int) -> tuple[int, int]:
    """Two factors, the first the largest that is not above the root."""
    side = math.isqrt(product)
    while product % side:
        side -= 1
    return side, product // side
