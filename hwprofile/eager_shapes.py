"""Results on the meta device as eager PyTorch lays them out on a CPU, for the common operations.

Torch's own meta functions give the right sizes but not always the strides of a CPU's kernels, and
what follows copies by strides. Each rule here gives both for the plain case and None for any other,
which torch then decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hwprofile.meta_shapes import (
    META,
    RULES,
    Attributes,
    ShapeRule,
    Tensors,
    adaptive_pool2d,
    attention,
    binary,
    convolution,
    is_dense,
    pool2d,
    spread,
    windows_transposed,
)
from hwprofile.record import Shape
from hwprofile.strides import dense_strides, fits_fused_attention, seems_channels_last


def like_first(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape, type and order in memory, without gaps."""
    first = tensors[0]
    return _elementwise(first.shape, [first]) if first.is_floating_point() else None


def elementwise(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape, if the others spread to it and all have one type."""
    out = binary(tensors, attrs)
    return None if out is None else _elementwise(tensors[0].shape, tensors)


def _elementwise(shape: torch.Size, tensors: Tensors) -> torch.Tensor:
    first = tensors[0]
    if all(t.shape == shape for t in tensors):
        if all(t.is_contiguous() for t in tensors):
            return torch.empty(shape, dtype=first.dtype, device=META)
        if len(shape) == 4 and all(_is_channels_last(t) for t in tensors):
            return _image(shape, first.dtype, last=True)
        if is_dense(first) and all(t.stride() == first.stride() for t in tensors):
            return torch.empty_strided(shape, first.stride(), dtype=first.dtype, device=META)
    strides = dense_strides(shape, *[t.expand(shape).stride() for t in tensors])
    return torch.empty_strided(shape, strides, dtype=first.dtype, device=META)


def image(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape and type, channels-last only where it seems to be."""
    return as_image(tensors[0], tensors[0].shape)


def as_image(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor without gaps, channels-last only where `x` seems to be."""
    return _image(shape, x.dtype, last=seems_channels_last(x.shape, x.stride()))


def batch_norm(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape; a single image counts as channels-last by its own strides."""
    x = tensors[0]
    last = not x.is_contiguous() and _is_channels_last(x)
    return _image(x.shape, x.dtype, last=last or seems_channels_last(x.shape, x.stride()))


def eager_convolution(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """Channels-last where the image or the weight seems to be."""
    x, weight = tensors[0], tensors[1]
    if attrs["transposed"]:
        shape = windows_transposed(x.shape, weight.shape, attrs)
    else:
        out = convolution(tensors, attrs)
        shape = None if out is None else tuple(out.shape)
    if shape is None:
        return None
    last = any(seems_channels_last(t.shape, t.stride()) for t in (x, weight))
    return _image(shape, x.dtype, last=last)


def row_major(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape and type, row-major whatever its strides."""
    return torch.empty(tensors[0].shape, dtype=tensors[0].dtype, device=META)


def pool(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C, H, W]` to `[B, C, H', W']`."""
    out = pool2d(tensors, attrs)
    return None if out is None else as_image(tensors[0], out.shape)


def adaptive_pool(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C, H, W]` to `[B, C, *output_size]`; to one pixel it is a mean, which torch lays out."""
    if set(spread(attrs["output_size"], 2)) == {1}:
        return None
    out = adaptive_pool2d(tensors, attrs)
    return None if out is None else as_image(tensors[0], out.shape)


def pixel_shuffle(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C·r², H, W]` to `[B, C, H·r, W·r]`."""
    x, r = tensors[0], attrs["upscale_factor"]
    if x.dim() != 4 or not isinstance(r, int) or x.shape[1] % (r * r):
        return None
    b, c, h, w = x.shape
    return as_image(x, (b, c // (r * r), h * r, w * r))


def eager_attention(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The query's shape `[B, heads, L, E]`; from the one kernel its order in memory too."""
    query, key, value = tensors[:3]
    mask = tensors[3] if len(tensors) > 3 else None
    fits = fits_fused_attention(
        query.shape,
        key.shape,
        value.shape,
        [t.stride()[-1] for t in tensors],
        None if mask is None else mask.shape,
        mask is not None and mask.requires_grad,
    )
    if fits:
        strides = query.stride() if is_dense(query) else dense_strides(query.shape, query.stride())
        return torch.empty_strided(query.shape, strides, dtype=query.dtype, device=META)
    if attention(tensors, attrs) is None:
        return None
    return torch.empty((*query.shape[:-1], value.shape[-1]), dtype=query.dtype, device=META)


def _is_channels_last(x: torch.Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _image(shape: Sequence[int] | Shape, dtype: torch.dtype, *, last: bool) -> torch.Tensor:
    form = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device=META, memory_format=form)


_AS_TORCH = frozenset({"cat", "mean", "sum", "amax", "rms_norm"})
"""Operations whose meta functions in torch have a CPU's strides."""
_IMAGES = ("group_norm", "channel_shuffle", "roll")
_ROWS = ("layer_norm", "softmax", "log_softmax")
_ELEMENTS = ("add", "sub", "mul", "div", "maximum", "minimum")
EAGER_RULES: dict[str, ShapeRule] = {
    **{name: rule for name, rule in RULES.items() if name not in _AS_TORCH},
    **dict.fromkeys(_IMAGES, image),
    **dict.fromkeys(_ROWS, row_major),
    **dict.fromkeys(_ELEMENTS, elementwise),
    "convolution": eager_convolution,
    "batch_norm": batch_norm,
    "max_pool2d": pool,
    "avg_pool2d": pool,
    "adaptive_avg_pool2d": adaptive_pool,
    "pixel_shuffle": pixel_shuffle,
    "scaled_dot_product_attention": eager_attention,
}
"""Rules by the operation's short name; `op_rules` adds the unary ones."""
