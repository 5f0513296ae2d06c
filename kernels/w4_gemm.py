"""Matrix product with 4-bit weights (W4A16): packing, the plain version, the choice of backend.

Dimension letters: M rows (all leading dimensions of x, multiplied out), K inner, N columns,
G groups of K / G inner elements that share a scale.
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

GROUP_SIZES: tuple[int, ...] = (32, 64, 128)
"""Inner elements that may share a scale; all K may, too."""

_RUN = 128  # Weights of a row that 16 words hold.
_DTYPES = (torch.float16, torch.bfloat16)
_SERVED = (
    "the Triton kernel serves non-empty float16 and bfloat16 tensors on a CUDA device of compute "
    "capability 8.0 or later (or on the CPU under TRITON_INTERPRET=1) with fewer than 2^31 - 2^16 "
    "rows, columns and inner elements"
)


def pack_w4(steps: Tensor) -> Tensor:
    """Pack 4-bit steps eight to a word, in runs of 128 of a row that take 16 words.

    Weight `32 q + 16 h + j` of a run (q from 0 to 3, h 0 or 1, j from 0 to 15) is in word j, in the
    4 bits from bit `16 h + 4 q` on. So one shift and one mask of a word give two weights as the
    last bits of two 16-bit halves, and neighbouring words belong to neighbouring weights.

    Args:
        steps: `[N, K]`, uint8, from 0 to 15.

    Returns:
        `[N, 16 * ceil(K / 128)]`, int32, contiguous; missing weights are 0.

    Raises:
        ValueError: If `steps` is not as described.
    """
    if steps.dim() != 2 or steps.dtype != torch.uint8 or 0 in steps.shape:
        raise ValueError(f"steps must be a non-empty uint8 [N, K]; got {describe(steps)}")
    if steps.device.type != "meta" and int(steps.max()) > 15:
        raise ValueError(f"steps must be from 0 to 15; the largest is {int(steps.max())}")
    columns, inner = steps.shape
    padded = functional.pad(steps, (0, -inner % _RUN)).reshape(columns, -1, 4, 2, 16)
    words = padded.permute(0, 1, 4, 2, 3).to(torch.int64) << _shifts(steps.device)
    # The sum of disjoint bits, read as a signed number.
    unsigned = words.sum((3, 4)).reshape(columns, -1)
    return torch.where(unsigned >= 2**31, unsigned - 2**32, unsigned).to(torch.int32)


def unpack_w4(packed: Tensor, inner: int) -> Tensor:
    """Undo `pack_w4`.

    Args:
        packed: `[N, 16 * ceil(K / 128)]`, int32.
        inner: K.

    Returns:
        `[N, K]`, uint8, from 0 to 15.

    Raises:
        ValueError: If `packed` has not the shape and dtype that K gives it.
    """
    _check_packed(packed, inner)
    words = packed.reshape(packed.shape[0], -1, 16, 1, 1) >> _shifts(packed.device)
    steps = (words & 15).permute(0, 1, 3, 4, 2).reshape(packed.shape[0], -1)
    return steps[:, :inner].to(torch.uint8)


def w4_gemm(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
    backend: str = "auto",
) -> Tensor:
    """Compute activation(x weight^T + bias) + residual, weight = scale · (step - zero).

    Sums are held in float32 and rounded once, at the end. A split of the inner dimension, for few
    rows, is added up in order: the same sums on every run. Meant for inference: gradients, once,
    run the plain version again.

    Args:
        x: `[..., K]`; rows may lie apart in memory.
        packed: The steps of the weight `[N, K]`, from `pack_w4`: `[N, 16 * ceil(K / 128)]`, int32.
        scale: Size of a step, `[G, N]`, dtype of `x`; K / G is 32, 64 or 128, or G is 1.
        zero: The step that means 0, `[G, N]`, uint8, from 0 to 15; None: 8 everywhere.
        bias: `[N]`, dtype of `x`; None adds nothing.
        residual: `[..., N]`, dtype of `x`, added behind the activation; None adds nothing.
        activation: A name in `ACTIVATIONS`.
        backend: `plain` is torch. `triton` insists on the Triton kernel. `auto` takes the kernel
            for CUDA tensors that it serves and torch for everything else.

    Returns:
        `[..., N]` in the dtype of `x`. No rows give an empty tensor.

    Raises:
        ValueError: If a shape, dtype, device or name is not as described.
        NotImplementedError: If `backend="triton"` and the kernel does not serve these tensors.
    """
    check_name("activation", activation, ACTIVATIONS)
    check_name("backend", backend, BACKENDS)
    _check(x, packed, scale, zero, bias, residual)
    module = chosen(
        backend,
        "kernels.w4_gemm_triton",
        lambda found: _refusal(x, packed, found),
        _SERVED,
        {"x": x, "packed": packed},
    )
    run = w4_gemm_plain if module is None else module.w4_gemm_triton
    result: Tensor = run(x, packed, scale, zero, bias, residual, activation=activation)
    return result


def w4_gemm_plain(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    activation: str = "none",
) -> Tensor:
    """Say in plain torch what `w4_gemm` means; the arguments are its own, unchecked.

    Works on any device, the meta device included, and in float64, which stays float64.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    inner, groups = x.shape[-1], scale.shape[0]
    steps = unpack_w4(packed, inner).to(wide).reshape(-1, groups, inner // groups)
    middle = 8.0 if zero is None else zero.to(wide).t()[:, :, None]
    weight = ((steps - middle) * scale.to(wide).t()[:, :, None]).reshape(-1, inner)
    with without_autocast(x.device.type):
        y = functional.linear(x.to(wide), weight, None if bias is None else bias.to(wide))
        y = ACTIVATIONS[activation](y)
        return (y if residual is None else y + residual.to(wide)).to(x.dtype)


def _shifts(device: torch.device) -> Tensor:
    """Return the first bit of a weight, `[quarter, half]`."""
    half = torch.arange(2, device=device, dtype=torch.int32) * 16
    return torch.arange(4, device=device, dtype=torch.int32)[:, None] * 4 + half


def _refusal(x: Tensor, packed: Tensor, module: ModuleType | None) -> str | None:
    """Say why the Triton kernel cannot take these tensors; None if it can."""
    if reason := refusal(x, module, _DTYPES):
        return reason
    if max(x.numel() // x.shape[-1], x.shape[-1], packed.shape[0]) >= 2**31 - 2**16:
        return "a dimension of 2^31 - 2^16 or more"
    return None


def _check_packed(packed: Tensor, inner: int) -> None:
    words = 16 * -(-inner // _RUN)
    if packed.dim() != 2 or packed.shape[1] != words or packed.dtype != torch.int32:
        raise ValueError(
            f"packed must be [N, {words}] in int32, from pack_w4 of a weight [N, {inner}]; got "
            f"{describe(packed)}"
        )


def _check(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
) -> None:
    """Raise ValueError unless the tensors are as `w4_gemm` describes them."""
    if x.dim() == 0 or not x.is_floating_point() or x.shape[-1] == 0:
        raise ValueError(
            f"x must be a floating-point [..., K] with K at least 1; got {describe(x)}"
        )
    inner, columns = x.shape[-1], packed.shape[0]
    _check_packed(packed, inner)
    known = [inner // size for size in GROUP_SIZES if inner % size == 0]
    if scale.dim() != 2 or scale.shape[1] != columns or scale.shape[0] not in (1, *known):
        raise ValueError(
            f"scale must be [G, {columns}] with G in {sorted({1, *known})}, so that groups have "
            f"32, 64, 128 or all of the {inner} inner elements; got {list(scale.shape)}"
        )
    if zero is not None and (zero.shape != scale.shape or zero.dtype != torch.uint8):
        raise ValueError(f"zero must be {list(scale.shape)} in uint8; got {describe(zero)}")
    if bias is not None and bias.shape != (columns,):
        raise ValueError(f"bias must be [{columns}]; got {list(bias.shape)}")
    wanted = (*x.shape[:-1], columns)
    if residual is not None and residual.shape != wanted:
        raise ValueError(
            f"residual must be {list(wanted)}, like the output; got {list(residual.shape)}"
        )
    check_like(x, (("scale", scale), ("bias", bias), ("residual", residual)))
    for name, tensor in (("packed", packed), ("zero", zero)):
        if tensor is not None and tensor.device != x.device:
            raise ValueError(f"{name} must be on the device of x; got {describe(tensor)}")
