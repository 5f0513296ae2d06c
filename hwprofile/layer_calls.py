"""From a layer to what is called to run it: by torch, and by this project's kernels.

Tensors hold random values, since a GPU that multiplies zeros draws less power and runs faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hwprofile.layer import Layer
from kernels.attention import attention
from kernels.dense_conv import dense_conv2d
from kernels.depthwise_conv import depthwise_conv2d
from kernels.elementwise import elementwise
from kernels.gemm import gemm
from kernels.global_pool import global_average_pool
from kernels.norm import layer_norm, rms_norm
from kernels.pool import average_pool2d, max_pool2d

Call = Callable[[], Tensor]
"""Runs a layer once. On a GPU it returns before the work is done."""
Tensors = dict[str, Tensor]


def tensors_of(layer: Layer, dtype: torch.dtype, device: torch.device | str, seed: int) -> Tensors:
    """What a layer reads: `x`, and whatever else it has; images channels-last.

    Args:
        layer: with its sizes.
        dtype: of every tensor.
        device: where they are made; `meta` holds no values.
        seed: of the values.
    """
    device = torch.device(device)
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> Tensor:
        x = torch.empty(shape, dtype=dtype, device=device)
        if len(shape) == 4 and layer.op != "attention":
            x = x.to(memory_format=torch.channels_last)
        return x if generator is None else x.normal_(generator=generator)

    return {name: draw(shape) for name, shape in _shapes(layer).items()}


def torch_call(layer: Layer, tensors: Tensors) -> Call:
    """The layer as torch runs it, in eager mode."""
    size, t = layer.named, tensors
    window = {name: size[name] for name in ("stride", "padding") if name in size}
    if layer.op == "gemm":
        return lambda: functional.linear(t["x"], t["weight"], t["bias"])
    if layer.op == "bmm":
        return lambda: torch.bmm(t["x"], t["other"])
    if layer.op == "attention":
        return lambda: functional.scaled_dot_product_attention(t["x"], t["key"], t["value"])
    if layer.op in ("conv2d", "depthwise_conv2d"):
        groups = size.get("groups", size["input_channel"])
        return lambda: functional.conv2d(t["x"], t["weight"], t["bias"], groups=groups, **window)
    if layer.op in ("max_pool2d", "avg_pool2d"):
        pool = getattr(functional, layer.op)
        return lambda: pool(t["x"], size["kernel_size"], **window)
    if layer.op == "global_avg_pool2d":
        return lambda: t["x"].mean((2, 3))
    if layer.op == "layer_norm":
        return lambda: functional.layer_norm(t["x"], (size["h"],), t["weight"], t["bias"])
    if layer.op == "rms_norm":
        return lambda: functional.rms_norm(t["x"], (size["h"],), t["weight"])
    if layer.op == "softmax":
        return lambda: t["x"].softmax(-1)
    if layer.op in ("add", "mul"):
        binary = getattr(torch, layer.op)
        return lambda: binary(t["x"], t["other"])
    unary = getattr(functional, layer.op)
    return lambda: unary(t["x"])


def kernel_call(layer: Layer, tensors: Tensors, *, backend: str = "triton") -> Call | None:
    """The layer as this project's kernels run it; None if no operation of theirs is this layer.

    Args:
        layer: with its sizes.
        tensors: from `tensors_of`.
        backend: as the operations take it; `plain` says what `triton` computes.
    """
    size, t = layer.named, tensors
    options: dict[str, Any] = {"backend": backend}
    if layer.op == "gemm":
        return lambda: gemm(t["x"], t["weight"], t["bias"], **options)
    if layer.op == "attention":
        return lambda: attention(t["x"], t["key"], t["value"], **options)
    if "kernel_size" in size:
        return _window_call(layer, t, options)
    if layer.op == "global_avg_pool2d":
        return lambda: global_average_pool(t["x"], **options)
    if layer.op == "layer_norm":
        return lambda: layer_norm(t["x"], t["weight"], t["bias"], **options)
    if layer.op == "rms_norm":
        return lambda: rms_norm(t["x"], t["weight"], **options)
    if layer.op in ("relu", "gelu", "silu"):
        return lambda: elementwise(t["x"], activation=layer.op, channel_dim=-1, **options)
    if layer.op == "add":
        return lambda: elementwise(t["x"], residual=t["other"], channel_dim=-1, **options)
    return None


def _window_call(layer: Layer, t: Tensors, options: dict[str, Any]) -> Call | None:
    """Convolutions and pools."""
    size = layer.named
    kernel, stride, padding = size["kernel_size"], size["stride"], size["padding"]
    if layer.op == "depthwise_conv2d":
        if kernel % 2 == 0 or padding != kernel // 2:
            return None
        return lambda: depthwise_conv2d(t["x"], t["weight"], t["bias"], stride=stride, **options)
    options = {**options, "stride": stride, "padding": padding}
    if layer.op == "conv2d":
        if size["groups"] > 1 or kernel > 7:
            return None
        return lambda: dense_conv2d(t["x"], t["weight"], t["bias"], **options)
    pool = max_pool2d if layer.op == "max_pool2d" else average_pool2d
    return lambda: pool(t["x"], kernel, **options)


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    size = layer.named
    if layer.op == "gemm":
        m, n, k = layer.sizes
        return {"x": (m, k), "weight": (n, k), "bias": (n,)}
    if layer.op == "bmm":
        b, m, n, k = layer.sizes
        return {"x": (b, m, k), "other": (b, k, n)}
    if layer.op == "attention":
        b, m, n, k = layer.sizes
        return {"x": (1, b, m, n), "key": (1, b, k, n), "value": (1, b, k, n)}
    if "input_size" in size:
        side, channels = size["input_size"], size["input_channel"]
        image: dict[str, tuple[int, ...]] = {"x": (size["b"], channels, side, side)}
        if layer.op not in ("conv2d", "depthwise_conv2d"):
            return image
        out, groups = size.get("output_channel", channels), size.get("groups", channels)
        taps = (size["kernel_size"],) * 2
        return {**image, "weight": (out, channels // groups, *taps), "bias": (out,)}
    rows, columns = layer.sizes
    if layer.op in ("add", "mul"):
        return {"x": (rows, columns), "other": (rows, columns)}
    if layer.op in ("layer_norm", "rms_norm"):
        return {"x": (rows, columns), "weight": (columns,), "bias": (columns,)}
    return {"x": (rows, columns)}
