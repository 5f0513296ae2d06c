"""Quick results on the meta device for the operations that networks are made of.

Torch's own meta functions are Python for the most part and take up to a third of a millisecond
a call. Each rule here gives the same shape and element type for the plain case and None for any
other, which torch then decides, faults included.

Legend: B batch, C channels, H height, W width, K and N columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from hwprofile.record import Attribute, Shape

ShapeRule = Callable[[Sequence[torch.Tensor], Mapping[str, Attribute]], torch.Tensor | None]
"""Makes an operation's result, or None where torch itself must."""

META = torch.device("meta")
Tensors = Sequence[torch.Tensor]
Attributes = Mapping[str, Attribute]


def empty(shape: Sequence[int], dtype: torch.dtype, layout: str = "nhwc") -> torch.Tensor:
    """A meta tensor in a layout: `nhwc` is channels-last where there are four dimensions."""
    last = layout == "nhwc" and len(shape) == 4
    form = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, device=META, memory_format=form)


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the tensor fills its storage, each element once."""
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def like(x: torch.Tensor, shape: Sequence[int] | None = None) -> torch.Tensor:
    """A meta tensor with the order of dimensions in memory that `x` has.

    Args:
        x: The tensor to follow.
        shape: As many sizes as `x` has; its own by default.
    """
    if shape is None and is_dense(x):
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=META)
    sizes = x.shape if shape is None else shape
    if x.is_contiguous():
        return torch.empty(sizes, dtype=x.dtype, device=META)
    old = x.stride()
    strides, step = [0] * len(sizes), 1
    for d in sorted(range(len(sizes)), key=lambda d: (old[d], -d)):
        strides[d], step = step, step * max(sizes[d], 1)
    return torch.empty_strided(sizes, strides, dtype=x.dtype, device=META)


def like_first(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape and type."""
    return like(tensors[0]) if tensors[0].is_floating_point() else None


def binary(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The first tensor's shape, if the others spread to it and all have one type."""
    first = tensors[0]
    if not first.is_floating_point():
        return None
    for other in tensors[1:]:
        if other.dtype is not first.dtype or other.dim() > first.dim():
            return None
        pairs = zip(reversed(other.shape), reversed(first.shape), strict=False)
        if other.shape != first.shape and any(o not in (1, f) for o, f in pairs):
            return None
    return like(first)


def convolution(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C, H, W]` to `[B, N, H', W']`, and the same in one or three dimensions."""
    x, weight = tensors[0], tensors[1]
    shape, kernel, groups = x.shape, weight.shape[2:], attrs["groups"]
    fits = (
        len(shape) == len(kernel) + 2
        and not attrs["transposed"]
        and isinstance(groups, int)
        and shape[1] == weight.shape[1] * groups
        and weight.shape[0] % groups == 0
    )
    sizes = windows(shape[2:], attrs, kernel) if fits else None
    return None if sizes is None else empty((shape[0], weight.shape[0], *sizes), x.dtype)


def pool2d(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C, H, W]` to `[B, C, H', W']`."""
    x, kernel = tensors[0], spread(attrs["kernel_size"], 2)
    stride = attrs.get("stride") or kernel
    if len(x.shape) != 4 or attrs.get("ceil_mode"):
        return None
    plain = {
        "stride": spread(stride, 2),
        "padding": spread(attrs.get("padding", 0), 2),
        "dilation": spread(attrs.get("dilation", 1), 2),
    }
    sizes = windows(x.shape[2:], plain, kernel)
    return None if sizes is None else like(x, (*x.shape[:2], *sizes))


def windows(sizes: Sequence[int], attrs: Attributes, kernel: Sequence[int]) -> Shape | None:
    """How many windows fit along each dimension; None where none does or attributes are odd."""
    stride, padding, dilation = attrs["stride"], attrs["padding"], attrs["dilation"]
    if not (isinstance(stride, tuple) and isinstance(padding, tuple)):
        return None
    if not isinstance(dilation, tuple):
        return None
    fitting = []
    for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=False):
        if not (isinstance(s, int) and isinstance(p, int) and isinstance(d, int)):
            return None
        fitting.append((n + 2 * p - d * (k - 1) - 1) // s + 1)
    return tuple(fitting) if min(fitting) > 0 else None


def windows_transposed(
    image: Sequence[int], weight: Sequence[int], attrs: Attributes
) -> Shape | None:
    """Sizes of a transposed convolution's result; None where attributes are odd."""
    rank, groups = len(weight) - 2, attrs["groups"]
    names = ("stride", "padding", "dilation", "output_padding")
    settings = [spread(attrs.get(name, 0), rank) for name in names]
    if len(image) != rank + 2 or not isinstance(groups, int):
        return None
    if any(len(setting) != rank for setting in settings):
        return None
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + more + 1
        for n, k, s, p, d, more in zip(image[2:], weight[2:], *settings, strict=True)
    ]
    return (image[0], weight[1] * groups, *sizes) if min(sizes) > 0 else None


def spread(value: Attribute, rank: int) -> tuple[int, ...]:
    """One integer for each of `rank` dimensions, from one or from as many."""
    if isinstance(value, int):
        return (value,) * rank
    values = value if isinstance(value, tuple) else (value,)
    numbers = tuple([v for v in values if isinstance(v, int)])
    return numbers * rank if len(numbers) == 1 else numbers


def adaptive_pool2d(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[B, C, H, W]` to `[B, C, *output_size]`."""
    x, sizes = tensors[0], spread(attrs["output_size"], 2)
    return like(x, (*x.shape[:2], *sizes)) if len(x.shape) == 4 and len(sizes) == 2 else None


def linear(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[..., K]` by `[N, K]` to `[..., N]`."""
    x, weight = tensors[0], tensors[1]
    if weight.dim() != 2 or x.shape[-1] != weight.shape[1]:
        return None
    return torch.empty((*x.shape[:-1], weight.shape[0]), dtype=x.dtype, device=META)


def matmul(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[..., M, K]` by `[..., K, N]` to `[..., M, N]`, for equal leading sizes."""
    a, b = tensors[0], tensors[1]
    if (
        min(len(a.shape), len(b.shape)) < 2
        or a.shape[:-2] != b.shape[:-2]
        or a.shape[-1] != b.shape[-2]
    ):
        return None
    return torch.empty((*a.shape[:-1], b.shape[-1]), dtype=a.dtype, device=META)


def attention(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """The query's shape and order in memory, as flash attention has it."""
    query, key, value = tensors[0], tensors[1], tensors[2]
    fits = key.shape == value.shape and query.shape[:-2] == key.shape[:-2]
    return like(query) if fits and query.shape[-1] == key.shape[-1] else None


def mean(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """`[...]` without the dimensions `dim`, or with ones in their place."""
    x, dims = tensors[0], attrs.get("dim")
    if dims is None or not x.is_floating_point() or not -x.dim() <= min(spread(dims, 1)):
        return None
    gone = {d % x.dim() for d in spread(dims, 1)}
    if attrs.get("keepdim"):
        return like(x, [1 if d in gone else n for d, n in enumerate(x.shape)])
    kept = [n for d, n in enumerate(x.shape) if d not in gone]
    return torch.empty(kept, dtype=x.dtype, device=META)


def cat(tensors: Tensors, attrs: Attributes) -> torch.Tensor | None:
    """Shapes that agree but in `dim` to one, the sum of the sizes there."""
    first, dim = tensors[0], attrs.get("dim", 0)
    if not isinstance(dim, int) or not -first.dim() <= dim < first.dim():
        return None
    dim %= first.dim()
    for other in tensors[1:]:
        same = other.dtype is first.dtype and other.dim() == first.dim()
        if not same or any(
            a != b
            for d, (a, b) in enumerate(zip(first.shape, other.shape, strict=True))
            if d != dim
        ):
            return None
    sizes = list(first.shape)
    sizes[dim] = sum(t.shape[dim] for t in tensors)
    return like(first, sizes)


def _agree(a: Sequence[int], b: Sequence[int], dim: int) -> bool:
    return all(d == dim or m == n for d, (m, n) in enumerate(zip(a, b, strict=True)))


RULES: dict[str, ShapeRule] = {
    "convolution": convolution,
    "linear": linear,
    "matmul": matmul,
    "bmm": matmul,
    "batch_norm": like_first,
    "layer_norm": like_first,
    "group_norm": like_first,
    "rms_norm": like_first,
    "softmax": like_first,
    "log_softmax": like_first,
    "roll": like_first,
    "scaled_dot_product_attention": attention,
    "mean": mean,
    "sum": mean,
    "amax": mean,
    "cat": cat,
    "max_pool2d": pool2d,
    "avg_pool2d": pool2d,
    "adaptive_avg_pool2d": adaptive_pool2d,
    "add": binary,
    "sub": binary,
    "mul": binary,
    "div": binary,
    "maximum": binary,
    "minimum": binary,
}
"""Quick rules by the operation's short name; `op_rules` adds the unary ones."""
