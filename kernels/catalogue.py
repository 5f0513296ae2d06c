"""The operations by name. Each is imported when it is asked for."""

from __future__ import annotations

import importlib

from kernels.operation import Operation

_PLACES: dict[str, str] = {
    "depthwise_conv": "kernels.depthwise_conv_cases:DEPTHWISE_CONV",
    "dilated_reparam": "kernels.dilated_reparam_cases:DILATED_REPARAM",
    "inception_depthwise": "kernels.inception_depthwise_cases:INCEPTION_DEPTHWISE",
    "layer_norm": "kernels.norm_cases:LAYER_NORM",
    "rms_norm": "kernels.norm_cases:RMS_NORM",
    "batch_norm": "kernels.elementwise_cases:BATCH_NORM",
    "elementwise": "kernels.elementwise_cases:ELEMENTWISE",
    "max_pool": "kernels.pool_cases:MAX_POOL",
    "average_pool": "kernels.pool_cases:AVERAGE_POOL",
    "global_average_pool": "kernels.pool_cases:GLOBAL_AVERAGE_POOL",
    "gem_pool": "kernels.pool_cases:GEM_POOL",
    "attention": "kernels.attention_cases:ATTENTION",
    "squeeze_excite": "kernels.gate_cases:SQUEEZE_EXCITE",
    "eca": "kernels.gate_cases:ECA",
    "long_conv": "kernels.long_conv_cases:LONG_CONV",
    "gemm": "kernels.gemm_cases:GEMM",
    "pointwise_conv": "kernels.gemm_cases:POINTWISE_CONV",
    "dense_conv": "kernels.dense_conv_cases:DENSE_CONV",
    "int8_gemm": "kernels.int8_cases:INT8_GEMM",
    "int8_conv": "kernels.int8_cases:INT8_CONV",
    "fp8_gemm": "kernels.fp8_cases:FP8_GEMM",
    "w4_gemm": "kernels.w4_gemm_cases:W4_GEMM",
    "inverted_residual": "kernels.inverted_residual_cases:INVERTED_RESIDUAL",
}


class UnknownOperationError(ValueError):
    """No operation goes by the name given."""


def operation_names() -> tuple[str, ...]:
    """Names of all operations."""
    return tuple(_PLACES)


def load_operation(name: str) -> Operation:
    """Import the operation called `name`.

    Raises:
        UnknownOperationError: There is none; the message lists those that there are.
    """
    if name not in _PLACES:
        raise UnknownOperationError(
            f"an operation must be one of {', '.join(_PLACES)}; got {name!r}"
        )
    module, attribute = _PLACES[name].split(":")
    operation: Operation = getattr(importlib.import_module(module), attribute)
    return operation
