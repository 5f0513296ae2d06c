"""The inverted-residual block in one launch: the plain version and the choice of backend.

Dimension letters: B batch, C input channels, E expanded channels, N output channels, H height,
W width, K depthwise kernel size, s stride. H' = ceil(H / s) and W' = ceil(W / s).
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from kernels.backend import (
    ACTIVATIONS,
    BACKENDS,
    check_like,
    check_name,
    chosen,
    describe,
    refusal,
    without_autocast,
)
from kernels.gemm_blocks import are_eights
from kernels.inverted_residual_blocks import MOST_COLUMNS, MOST_LOOSE_COLUMNS

_SERVED = (
    "the Triton kernel serves non-empty float32, float16 and bfloat16 tensors on a CUDA device of "
    "compute capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1), K of 3, 5 or 7, "
    f"stride 1 or 2, at most {MOST_COLUMNS} output channels ({MOST_LOOSE_COLUMNS} unless all "
    "numbers of channels are multiples of 8), 2^31 elements an image or a weight, and 2^31 - 2^16 "
    "pixels"
)


def inverted_residual(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    *,
    stride: int = 1,
    activation: str = "relu",
    residual: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Expand, convolve each channel, project: an inverted-residual block with its norms folded in.

    y = project(activation(depthwise(activation(expand(x))))) + (x if residual). The depthwise
    convolution is padded with zeros to "same" size. Sums are held in float32; the Triton kernel
    rounds the expanded values, and those behind the depthwise convolution, to the dtype of `x`. It
    is for inference: gradients, once, run the plain version again.

    Args:
        x: `[B, C, H, W]`. Channels-last memory saves the Triton backend a copy.
        expand_weight: `[E, C, 1, 1]`; this and all others of the dtype and device of `x`.
        expand_bias: `[E]`.
        depthwise_weight: `[E, 1, K, K]`, K odd.
        depthwise_bias: `[E]`.
        project_weight: `[N, E, 1, 1]`.
        project_bias: `[N]`.
        stride: Step of the depthwise convolution, in pixels; at least 1.
        activation: A name in `ACTIVATIONS`, for expand and depthwise alike.
        residual: Whether `x` is added; wants stride 1 and N = C.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[B, N, H', W']` in the dtype of `x`; channels-last from Triton. A batch of 0 gives an
        empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    tensors = (
        *(x, expand_weight, expand_bias, depthwise_weight, depthwise_bias),
        *(project_weight, project_bias),
    )
    _check(*tensors, stride, residual)
    module = chosen(
        backend,
        "kernels.inverted_residual_triton",
        lambda found: _refusal(x, depthwise_weight, project_weight, stride, found),
        _SERVED,
        {"x": x, "depthwise_weight": depthwise_weight, "project_weight": project_weight},
    )
    run = inverted_residual_plain if module is None else module.inverted_residual_triton
    result: Tensor = run(*tensors, stride=stride, activation=activation, residual=residual)
    return result


def inverted_residual_plain(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    *,
    stride: int = 1,
    activation: str = "relu",
    residual: bool = False,
) -> Tensor:
    """Say in plain torch what `inverted_residual` means; the arguments are its own, unchecked.

    Works on any device, the meta device included, and in float64, which stays float64.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    act = ACTIVATIONS[activation]
    with without_autocast(x.device.type):
        y = functional.conv2d(x.to(wide), expand_weight.to(wide), expand_bias.to(wide))
        y = functional.conv2d(
            act(y),
            depthwise_weight.to(wide),
            depthwise_bias.to(wide),
            stride=stride,
            padding=depthwise_weight.shape[-1] // 2,
            groups=depthwise_weight.shape[0],
        )
        y = functional.conv2d(act(y), project_weight.to(wide), project_bias.to(wide))
        return (y + x.to(wide) if residual else y).to(x.dtype)


def _refusal(
    x: Tensor,
    depthwise_weight: Tensor,
    project_weight: Tensor,
    stride: int,
    module: ModuleType | None,
) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module):
        return reason
    kernel = depthwise_weight.shape[-1]
    columns, expanded = project_weight.shape[:2]
    if kernel not in (3, 5, 7):
        return f"kernel size {kernel}"
    if stride > 2:
        return f"stride {stride}"
    eights = are_eights(x.shape[1], expanded, columns)
    if columns > (MOST_COLUMNS if eights else MOST_LOOSE_COLUMNS):
        return f"{columns} output channels"
    pixels = (x.shape[2] + 64) * (x.shape[3] + 64)  # Tiles may overhang.
    if max(pixels * x.shape[1], expanded * max(x.shape[1], kernel * kernel, columns)) >= 2**31:
        return "an image or a weight of 2^31 or more elements"
    if x.shape[0] * pixels >= 2**31 - 2**16:
        return "2^31 - 2^16 or more pixels"
    return None


def _check(
    x: Tensor,
    expand_weight: Tensor,
    expand_bias: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    project_weight: Tensor,
    project_bias: Tensor,
    stride: int,
    residual: bool,
) -> None:
    """Raise ValueError unless the arguments are as `inverted_residual` describes them."""
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(
            "x must be a floating-point [batch, channels, height, width] with at least one "
            f"channel, row and column; got {describe(x)}. A single image needs x[None]."
        )
    if stride < 1:
        raise ValueError(f"stride must be at least 1 pixel; got {stride}")
    channels = x.shape[1]
    expanded = expand_weight.shape[0] if expand_weight.dim() == 4 else 0
    columns = project_weight.shape[0] if project_weight.dim() == 4 else 0
    kernel = depthwise_weight.shape[-1] if depthwise_weight.dim() == 4 else 0
    for name, tensor, wanted in (
        ("expand_weight", expand_weight, (expanded, channels, 1, 1)),
        ("expand_bias", expand_bias, (expanded,)),
        ("depthwise_weight", depthwise_weight, (expanded, 1, kernel, kernel)),
        ("depthwise_bias", depthwise_bias, (expanded,)),
        ("project_weight", project_weight, (columns, expanded, 1, 1)),
        ("project_bias", project_bias, (columns,)),
    ):
        if tensor.shape != wanted or 0 in wanted:
            raise ValueError(
                f"{name} must be {list(wanted)} with no size of 0; got "
                f"{list(tensor.shape)} for x {list(x.shape)} and expand_weight "
                f"{list(expand_weight.shape)}. Weights are [E, C, 1, 1], [E, 1, K, K] and "
                "[N, E, 1, 1]."
            )
        check_like(x, ((name, tensor),))
    if kernel % 2 == 0:
        raise ValueError(f"depthwise_weight must have a kernel of odd size; got {kernel}")
    if residual and (stride != 1 or columns != channels):
        raise ValueError(
            f"residual wants stride 1 and as many output as input channels; got stride {stride}, "
            f"{channels} input and {columns} output channels"
        )
