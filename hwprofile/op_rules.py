"""What the tracer knows of each torch operation: its name, how it is recorded, shapes, MACs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hwprofile import eager_shapes
from hwprofile.meta_shapes import RULES, ShapeRule, like_first, spread
from hwprofile.record import Attribute, Shape

MacRule = Callable[[Sequence[Shape], Shape, dict[str, Attribute]], int]
"""Multiply-adds from the shapes of the tensor arguments and of the result, and the attributes."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNARY: frozenset[str] = _names("""
    abs neg exp log sqrt rsqrt square reciprocal relu relu6 gelu silu mish sigmoid tanh elu selu
    celu leaky_relu softplus softsign hardswish hardsigmoid hardtanh clamp clamp_min clamp_max
    erf sin cos prelu log_sigmoid logit hardshrink softshrink threshold sign floor ceil round
""")
"""Operations on each element of one tensor, whose result has its shape and type."""
BINARY: frozenset[str] = _names("""
    add sub mul div rsub pow maximum minimum lerp addcmul addcdiv where atan2 fmod remainder eq
    ne lt le gt ge logical_and logical_or logical_not masked_fill fill zero
""")
"""Operations on elements of one tensor or more that spread to a common shape."""
CONVOLUTIONS: frozenset[str] = _names("""
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    _convolution
""")
"""Names under which torch dispatches convolutions."""

# torch builds these out of others, yet they run as one launch or none: they are kept whole.
_WHOLE = _names("""
    linear matmul batch_norm layer_norm rms_norm group_norm softmax log_softmax pad
    scaled_dot_product_attention reshape reshape_as flatten unflatten chunk split tensor_split
    narrow squeeze movedim moveaxis swapaxes swapdims view_as expand_as contiguous to type_as
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d avg_pool1d
    max_pool1d max_pool2d max_pool3d upsample_nearest1d upsample_nearest2d upsample_bilinear2d
    upsample_bicubic2d upsample_nearest3d upsample_linear1d upsample_trilinear3d square selu
    relu6 log_sigmoid tile prelu softsign hardswish var std mean sum amax amin float half T mT
    select unbind dropout feature_dropout alpha_dropout constant_pad_nd concat concatenate
""")
_IGNORED = frozenset({"device", "layout", "pin_memory", "memory_format", "dtype"})
_DROPOUTS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
_SAME_NAME = {"concat": "cat", "concatenate": "cat", "_softmax": "softmax"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpRule:
    """How the tracer records one overload of one operation."""

    name: str
    """Short name."""
    arguments: tuple[str, ...]
    """Names of the positional arguments."""
    defaults: dict[str, Attribute]
    """Attributes that hold where a call leaves them out."""
    decompose: bool
    """Whether torch takes it apart first, so that its parts are recorded."""
    may_view: bool
    """Whether the result may share the first argument's memory."""
    writes: bool
    """Whether it overwrites its first argument."""
    writes_elsewhere: bool
    """Whether it overwrites another argument, such as `out=`."""
    inplace_view: bool
    """Whether it changes its first argument's shape in place, such as `squeeze_`."""
    makes_device: bool
    """Whether it takes a device, which must then be the meta device."""
    reads_values: bool
    """Whether its result's shape or value depends on what tensors hold."""
    sizes_vary: bool
    """Whether its result's shape does."""
    drops: bool
    """Whether it is a drop-out, which inference skips."""
    relays: bool
    """Whether it only asks for a memory layout, which the runtime chooses itself."""
    convolves: bool
    """Whether it is a convolution."""
    shape: ShapeRule | None
    """Quick way to the result, or None for torch's own."""
    eager_shape: ShapeRule | None
    """The same where every operation chooses its result's strides."""
    macs: MacRule | None
    """Multiply-adds, or None for none."""
    meaning: Callable[..., torch.Tensor] | None
    """For an operator of this project: the torch operations that its one launch does, which are
    recorded in its place."""


def rule_of(func: torch._ops.OpOverload) -> OpRule:
    """The rule for an overload, from its schema and the tables here. Known ones are kept."""
    rule = _RULES.get(func)
    if rule is None:
        rule = _RULES[func] = _make_rule(func)
    return rule


_RULES: dict[torch._ops.OpOverload, OpRule] = {}


def _make_rule(func: torch._ops.OpOverload) -> OpRule:
    schema = func._schema
    torch_name = schema.name.split("::")[-1]
    args = schema.arguments
    written = [i for i, a in enumerate(args) if a.alias_info is not None and a.alias_info.is_write]
    base = torch_name[:-1] if written == [0] and torch_name.endswith("_") else torch_name
    convolves = base in CONVOLUTIONS
    name = "convolution" if convolves else _SAME_NAME.get(base, base)
    inplace_view = torch.Tag.inplace_view in func.tags
    kept = name in _WHOLE or convolves or name in UNARY or name in BINARY
    return OpRule(
        name=name,
        arguments=tuple(a.name for a in args),
        defaults=_defaults(func),
        decompose=not kept and func._can_decompose(),
        may_view=inplace_view
        or (not written and any(r.alias_info is not None for r in schema.returns)),
        writes=written == [0] and not inplace_view,
        writes_elsewhere=bool(written) and written != [0],
        inplace_view=inplace_view,
        makes_device=any(a.name == "device" for a in args),
        reads_values=torch.Tag.data_dependent_output in func.tags
        or torch.Tag.dynamic_output_shape in func.tags,
        sizes_vary=torch.Tag.dynamic_output_shape in func.tags,
        drops=name in _DROPOUTS,
        relays=name == "contiguous",
        convolves=convolves,
        shape=RULES.get(name, like_first if name in UNARY else None),
        eager_shape=eager_shapes.EAGER_RULES.get(
            name, eager_shapes.like_first if name in UNARY else None
        ),
        macs=_MACS.get(name),
        meaning=_meaning(func),
    )


def _meaning(func: torch._ops.OpOverload) -> Callable[..., torch.Tensor] | None:
    if func.namespace != "nas":
        return None
    # Not needed, and not loaded, where no module has such an operator.
    from kernels.library import MEANINGS

    return MEANINGS.get(func)


def _defaults(func: torch._ops.OpOverload) -> dict[str, Attribute]:
    defaults: dict[str, Attribute] = {}
    for argument in func._schema.arguments:
        if argument.has_default_value() and argument.name not in _IGNORED:
            value = as_attribute(argument.default_value)
            if value is not None:
                defaults[argument.name] = value
    return defaults


def as_attribute(value: object) -> Attribute:
    """A call's argument as a value to record; None for what is not worth recording."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(as_attribute(v) for v in value)
    return None


def is_recorded(name: str) -> bool:
    """Whether an argument of this name belongs among the attributes."""
    return name not in _IGNORED


def normalise_convolution(weight: Shape, attrs: dict[str, Attribute], name: str) -> None:
    """Give a convolution's attributes one integer for each spatial dimension, in place.

    Args:
        weight: `[channels_out, channels_in / groups, *kernel]`; transposed, the first two swap.
        attrs: As the call had them; gains `kernel` and `transposed`.
        name: Name of the operation in torch.
    """
    kernel = weight[2:]
    rank = len(kernel)
    attrs["kernel"] = kernel
    attrs["transposed"] = bool(attrs.get("transposed", "transpose" in name))
    for key in ("stride", "dilation"):
        attrs[key] = spread(attrs.get(key, 1), rank)
    padding = attrs.get("padding", 0)
    if padding == "same":
        dilation = spread(attrs["dilation"], rank)
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    attrs["padding"] = spread(0 if padding == "valid" else padding, rank)


def _macs_convolution(shapes: Sequence[Shape], out: Shape, attrs: dict[str, Attribute]) -> int:
    # Each output (each input, if transposed) meets the weights of one of its channels' filters.
    weight = shapes[1]
    products = math.prod(weight[1:])
    return math.prod(shapes[0] if attrs["transposed"] else out) * products


def _macs_linear(shapes: Sequence[Shape], out: Shape, attrs: dict[str, Attribute]) -> int:
    return math.prod(out) * shapes[0][-1]


def _macs_addmm(shapes: Sequence[Shape], out: Shape, attrs: dict[str, Attribute]) -> int:
    return math.prod(out) * shapes[1][-1]


def _macs_attention(shapes: Sequence[Shape], out: Shape, attrs: dict[str, Attribute]) -> int:
    """Both products, over the whole square even if causal: `B·H·L·S·(E + V)`."""
    query, key, value = shapes[0], shapes[1], shapes[2]
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_MACS: dict[str, MacRule] = {
    "convolution": _macs_convolution,
    "linear": _macs_linear,
    "matmul": _macs_linear,
    "mm": _macs_linear,
    "bmm": _macs_linear,
    "mv": _macs_linear,
    "dot": _macs_linear,
    "addmm": _macs_addmm,
    "baddbmm": _macs_addmm,
    "scaled_dot_product_attention": _macs_attention,
}
