"""Which module becomes which operator, and why another does not.

A module counts as one of a class if it runs that class's own `forward`, whatever subclass it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernels.dense_conv import KERNEL_SIZES as DENSE_SIZES
from kernels.depthwise_conv import KERNEL_SIZES as DEPTHWISE_SIZES
from nas.rewrite import layers, lifts, products
from nas.rewrite.layer import Layer
from searchspace.primitives import channel, channel_mixers, convolution, norm, parameter_free

Made = Layer | str
"""The replacement, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How modules of one class are replaced."""

    make: Callable[..., Made]
    """The replacement of a module, or why there is none."""
    op: str = ""
    """What the trace shows for each time that such a module runs; empty for a module that takes in
    nothing of what follows."""
    times: Callable[[nn.Module], int] = lambda module: 1
    """How often it shows that, each time."""
    image: bool = False
    """Whether the replacement needs `[B, C, H, W]` where the module serves other shapes too."""
    methods: tuple[str, ...] = ("forward",)
    """What a subclass must not have changed."""


def pattern_of(module: nn.Module) -> Pattern | None:
    """The pattern for a module; None if there is none."""
    for cls in type(module).__mro__:
        pattern = PATTERNS.get(cls)
        if pattern is not None:
            same = (getattr(type(module), m) is getattr(cls, m) for m in pattern.methods)
            return pattern if all(same) else None
    return None


def meddled(module: nn.Module, inside: bool = True) -> str | None:
    """Why a module, or one `inside` it, may do more than its class says; None if it does not."""
    for inner in module.modules() if inside else (module,):
        if inner._forward_hooks or inner._forward_pre_hooks or "forward" in inner.__dict__:
            return "it has hooks, or a forward of its own"
        if hasattr(inner, "parametrizations"):
            return "its parameters are computed: torch.nn.utils.parametrize.remove_parametrizations"
    return None


def activation_of(module: nn.Module) -> str | None:
    """Name of the activation that a module is, if it can be fused."""
    if meddled(module):
        return None
    for cls, name in _ACTIVATIONS.items():
        if isinstance(module, cls) and type(module).forward is cls.forward:
            plain = not isinstance(module, nn.GELU) or module.approximate == "none"
            return name if plain else None
    return None


def affine_of(module: nn.Module) -> tuple[Tensor | None, Tensor | None] | None:
    """Factor and offset of each channel, if a module does nothing else than apply them."""
    if meddled(module):
        return None
    if type(module).forward is norm.LayerScale.forward:
        return module.get_parameter("scale"), None
    if isinstance(module, lifts.Scale):
        return module.scale, None
    if type(module).forward is norm.Bias.forward:
        return None, module.get_parameter("bias")
    return None


def is_foldable(module: nn.Module) -> bool:
    """Whether a module is a batch norm with statistics of its own, for images."""
    return (
        isinstance(module, nn.BatchNorm2d)
        and type(module).forward is nn.BatchNorm2d.forward
        and module.running_mean is not None
        and module.running_var is not None
        and meddled(module) is None
    )


def _conv(conv: nn.Conv2d) -> Made:
    kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
    if conv.padding_mode != "zeros":
        return f"padding mode {conv.padding_mode}"
    if len({*stride}) > 1 or len({*dilation}) > 1:
        return "its strides or dilations differ"
    centred = [d * (k - 1) / 2 for d, k in zip(dilation, kernel, strict=True)]
    named = {"same": centred, "valid": [0.0, 0.0]}
    padding = named[conv.padding] if isinstance(conv.padding, str) else [*map(float, conv.padding)]
    if conv.groups > 1:
        if not conv.groups == conv.in_channels == conv.out_channels:
            return "no operation for convolutions in groups"
        if not set(kernel) <= set(DEPTHWISE_SIZES) or padding != centred:
            return 'a depthwise convolution must have odd sizes up to 31 and be padded to "same"'
        return products.DepthwiseConv(conv.weight, conv.bias, stride[0], dilation[0])
    if kernel == (1, 1) and stride == (1, 1) and padding == [0.0, 0.0]:
        return products.PointwiseConv(conv.weight, conv.bias)
    if kernel[0] != kernel[1] or kernel[0] not in DENSE_SIZES:
        return f"a dense convolution must be square, of at most {DENSE_SIZES[-1]} pixels"
    if padding[0] != padding[1] or not padding[0].is_integer():
        return "its padding differs from side to side"
    if conv.weight.dtype not in (torch.float16, torch.bfloat16):
        # Torch's libraries have Winograd and TF32 for these; the kernel has neither.
        return "dense convolutions are torch's in every dtype but float16 and bfloat16"
    return products.DenseConv(conv.weight, conv.bias, stride[0], int(padding[0]), dilation[0])


def _dilated_reparam(module: convolution.DilatedReparam) -> Made:
    if module.merged is not None:
        return "its one convolution is replaced"
    whole = copy.deepcopy(module)
    whole.merge()
    assert whole.merged is not None
    return _conv(whole.merged)


def _layer_norm(module: nn.LayerNorm) -> Made:
    if len(module.normalized_shape) != 1:
        return "it normalises over more than the last dimension"
    return layers.LayerNorm(module, images_first=isinstance(module, norm.LayerNorm))


def _rms_norm(module: nn.RMSNorm) -> Made:
    if len(module.normalized_shape) != 1:
        return "it normalises over more than the last dimension"
    if module.eps is None:
        return "its epsilon hangs on the dtype"
    return layers.RMSNorm(module, module.eps, images_first=isinstance(module, norm.RMSNorm))


def _batch_norm(module: nn.BatchNorm2d) -> Made:
    if module.running_mean is None or module.running_var is None:
        return "it has no running statistics"
    return layers.BatchNorm(module)


def _squeeze_excite(module: channel.SqueezeExcite | channel_mixers.Excite) -> Made:
    inner = module.act.act if isinstance(module.act, channel.Activation) else module.act
    activation = activation_of(inner)
    if type(module.gate) is not nn.Sigmoid or activation is None:
        return "squeeze-excite is replaced with a sigmoid gate and a fused activation only"
    return layers.SqueezeExcite(module.squeeze, module.excite, activation)


def _eca(module: channel.EfficientChannelAttention) -> Made:
    return layers.EfficientChannelAttention(module.conv)


def _inception(module: convolution.InceptionDepthwise) -> Made:
    if module.row.kernel_size[1] not in DEPTHWISE_SIZES:
        return "its bands must have an odd length of at most 31"
    return layers.InceptionDepthwise(module.square, module.row, module.column)


def _adaptive_pool(module: nn.AdaptiveAvgPool2d) -> Made:
    if module.output_size not in (1, (1, 1), [1, 1]):
        return "adaptive pooling to more than one pixel"
    return layers.GlobalPool(keep=True)


def _max_pool(module: nn.MaxPool2d) -> Made:
    sizes = _squares(module.kernel_size, module.stride, module.padding)
    if (
        sizes is None
        or module.ceil_mode
        or module.return_indices
        or module.dilation not in (1, (1, 1))
    ):
        return "pooling must have square windows, no dilation, no indices and no ceil mode"
    return layers.MaxPool(*sizes)


def _average_pool(module: nn.AvgPool2d) -> Made:
    sizes = _squares(module.kernel_size, module.stride, module.padding)
    if sizes is None or module.ceil_mode or module.divisor_override is not None:
        return "pooling must have square windows, no divisor of its own and no ceil mode"
    return layers.AveragePool(*sizes, module.count_include_pad)


def _squares(*sizes: int | tuple[int, ...]) -> tuple[int, int, int] | None:
    """Kernel, stride and padding if the two sizes of each are one."""
    pairs = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
    if any(len(pair) != 2 or pair[0] != pair[1] for pair in pairs):
        return None
    return pairs[0][0], pairs[1][0], pairs[2][0]


def _padding(kernel: int) -> int:
    return kernel // 2 if kernel % 2 else 0


_ACTIVATIONS: dict[type[nn.Module], str] = {
    **{nn.ReLU: "relu", nn.GELU: "gelu", nn.SiLU: "silu", nn.ReLU6: "relu6"},
    **{nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid"},
    nn.Sigmoid: "sigmoid",
}

PATTERNS: dict[type[nn.Module], Pattern] = {
    nn.Conv2d: Pattern(
        make=_conv, op="convolution", image=True, methods=("forward", "_conv_forward")
    ),
    convolution.DilatedReparam: Pattern(
        make=_dilated_reparam,
        op="add",
        times=lambda module: 0 if module.merged is not None else len(module.convs) - 1,
    ),
    nn.Linear: Pattern(make=lambda m: products.Gemm(m.weight, m.bias), op="linear"),
    nn.LayerNorm: Pattern(make=_layer_norm, op="layer_norm"),
    norm.LayerNorm: Pattern(make=_layer_norm, op="layer_norm"),
    nn.RMSNorm: Pattern(make=_rms_norm, op="rms_norm"),
    norm.RMSNorm: Pattern(make=_rms_norm, op="rms_norm"),
    nn.BatchNorm2d: Pattern(make=_batch_norm, op="batch_norm"),
    channel.SqueezeExcite: Pattern(make=_squeeze_excite),
    channel_mixers.Excite: Pattern(make=_squeeze_excite),
    channel.EfficientChannelAttention: Pattern(make=_eca),
    convolution.InceptionDepthwise: Pattern(make=_inception),
    parameter_free.GlobalPool: Pattern(make=lambda m: layers.GlobalPool(keep=False)),
    parameter_free.GeneralisedMeanPool: Pattern(
        make=lambda m: layers.GeneralisedMeanPool(m.exponent)
    ),
    parameter_free.MaxPool: Pattern(make=lambda m: layers.MaxPool(m.kernel, 1, m.kernel // 2)),
    parameter_free.StridedMaxPool: Pattern(
        make=lambda m: layers.MaxPool(m.kernel, m.stride, _padding(m.kernel))
    ),
    parameter_free.AveragePool: Pattern(
        make=lambda m: layers.AveragePool(m.kernel, 1, m.kernel // 2, False)
    ),
    parameter_free.StridedAveragePool: Pattern(
        make=lambda m: layers.AveragePool(m.kernel, m.stride, _padding(m.kernel), False)
    ),
    lifts.ChannelMean: Pattern(make=lambda m: layers.GlobalPool(keep=False)),
    lifts.Attention: Pattern(make=lambda m: layers.Attention(m.causal, m.scale)),
    nn.AdaptiveAvgPool2d: Pattern(make=_adaptive_pool, image=True),
    nn.MaxPool2d: Pattern(make=_max_pool, image=True),
    nn.AvgPool2d: Pattern(make=_average_pool, image=True),
}
"""By class; the nearest class of a module that is in here counts."""
