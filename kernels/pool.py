"""Max and average pooling over windows: plain torch versions and the choice of backend.

Dimension letters: B batch, C channels, H height, W width, K side of a window, s stride, p padding.
The output has H' = floor((H + 2p - K) / s) + 1 rows, and so for columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import (
    BACKENDS,
    check_name,
    chosen,
    describe,
    refusal,
    without_autocast,
)

_LARGEST_KERNEL = 181  # Taps are remembered as 16-bit numbers.
_SERVED = (
    "the Triton kernels serve non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), fewer than 2^31 "
    f"elements an image, windows of at most {_LARGEST_KERNEL} pixels a side"
)


def max_pool2d(
    x: Tensor,
    kernel: int,
    *,
    stride: int | None = None,
    padding: int = 0,
    backend: str = "auto",
) -> Tensor:
    """Take the largest value of each window; what lies outside of the map does not count.

    As in torch, a NaN is larger than every number, and the gradient goes to the first of equal
    values in a row-wise reading of the window. Differentiable once; the gradient is the same on
    every run.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        kernel: Side K of a window, in pixels; at least 1.
        stride: Step between windows, in pixels; None is `kernel`.
        padding: Rows and columns outside on every side, in pixels; at most K / 2.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, C, H', W']` in the dtype and layout of `x`.

    Raises:
        ValueError: If a shape, size or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    stride = kernel if stride is None else stride
    return _pool(x, kernel, stride, padding, backend, maximum=True, count_include_pad=True)


def average_pool2d(
    x: Tensor,
    kernel: int,
    *,
    stride: int | None = None,
    padding: int = 0,
    count_include_pad: bool = True,
    backend: str = "auto",
) -> Tensor:
    """Take the mean of each window. Sums are float32 and are rounded once, at the end.

    Differentiable once; the gradient is the same on every run.

    Args:
        x: Input, `[B, C, H, W]`; channels-last or contiguous memory saves a copy.
        kernel: Side K of a window, in pixels; at least 1.
        stride: Step between windows, in pixels; None is `kernel`.
        padding: Rows and columns of zeros on every side, in pixels; at most K / 2.
        count_include_pad: Whether the zeros of the padding count in the mean.
        backend: A name in `kernels.backend.BACKENDS`.

    Returns:
        `[B, C, H', W']` in the dtype and layout of `x`.

    Raises:
        ValueError: If a shape, size or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    stride = kernel if stride is None else stride
    return _pool(
        x, kernel, stride, padding, backend, maximum=False, count_include_pad=count_include_pad
    )


def max_pool2d_plain(
    x: Tensor, kernel: int, *, stride: int | None = None, padding: int = 0
) -> Tensor:
    """Say in plain torch what `max_pool2d` means; the arguments are its own, unchecked."""
    return functional.max_pool2d(x, kernel, stride, padding)


def average_pool2d_plain(
    x: Tensor,
    kernel: int,
    *,
    stride: int | None = None,
    padding: int = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """Say in plain torch what `average_pool2d` means; the arguments are its own, unchecked."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with without_autocast(x.device.type):
        y = functional.avg_pool2d(
            x.to(wide), kernel, stride, padding, count_include_pad=count_include_pad
        )
        return y.to(x.dtype)


def _pool(
    x: Tensor,
    kernel: int,
    stride: int,
    padding: int,
    backend: str,
    *,
    maximum: bool,
    count_include_pad: bool,
) -> Tensor:
    _check(x, kernel, stride, padding, backend)
    module = chosen(
        backend,
        "kernels.pool_triton",
        lambda found: refusal(x, found) or _refusal(x, kernel),
        _SERVED,
        {"x": x, "a window of": kernel},
    )
    if module is not None:
        window = module.Window(
            maximum=maximum,
            kernel=kernel,
            stride=stride,
            padding=padding,
            count_include_pad=count_include_pad,
        )
        y: Tensor = module.pool_triton(x, window)
        return y
    if maximum:
        return max_pool2d_plain(x, kernel, stride=stride, padding=padding)
    return average_pool2d_plain(
        x, kernel, stride=stride, padding=padding, count_include_pad=count_include_pad
    )


def _refusal(x: Tensor, kernel: int) -> str | None:
    """Say which size the kernels do not serve; None if they do."""
    # Blocks of pixels and taps may reach a little past an image.
    if x[0].numel() + 2**20 >= 2**31:
        return "an image of 2^31 or more elements"
    return f"a window of {kernel} pixels" if kernel > _LARGEST_KERNEL else None


def _check(x: Tensor, kernel: int, stride: int, padding: int, backend: str) -> None:
    """Raise ValueError unless the arguments are as the public functions describe them."""
    check_name("backend", backend, BACKENDS)
    if kernel < 1 or stride < 1:
        raise ValueError(f"kernel and stride must be at least 1 pixel; got {kernel} and {stride}")
    if not 0 <= padding <= kernel // 2:
        raise ValueError(
            f"padding must be from 0 to half of the kernel, {kernel // 2}; got {padding}. More "
            "would make windows of padding alone."
        )
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
    if min(x.shape[2:]) + 2 * padding < kernel:
        raise ValueError(
            f"a window of {kernel} must fit into the map with its padding of {padding}; got x "
            f"{list(x.shape)}"
        )
