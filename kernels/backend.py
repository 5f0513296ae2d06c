"""What every operation shares: names of backends and activations, and who serves which tensor.

Imports torch only. The Triton version of an operation is imported when it is first needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

BACKENDS: tuple[str, ...] = ("auto", "plain", "triton")
"""Names that `backend` takes: `plain` is torch, `triton` insists on the Triton kernels, `auto`
takes them for CUDA tensors that they serve and torch for everything else."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda value: value,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": functional.hardsigmoid,
}
"""Activations that can be fused, by name. `gelu` is the exact form, with the error function."""

SERVED_DTYPES: tuple[torch.dtype, ...] = (torch.float32, torch.float16, torch.bfloat16)
"""What a Triton kernel serves unless its operation says otherwise."""


def describe(tensor: Tensor) -> str:
    """Give shape, dtype and device for a message: `[1, 2] float32 on cpu`."""
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def check_name(argument: str, value: str, known: Collection[str]) -> None:
    """Raise ValueError unless `value`, given as `argument`, is one of the known names."""
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)}; got {value!r}")


def check_like(reference: Tensor, others: Iterable[tuple[str, Tensor | None]]) -> None:
    """Raise ValueError unless the others, by name, have the dtype and device of `x`."""
    for name, other in others:
        if other is not None and (other.dtype, other.device) != (reference.dtype, reference.device):
            raise ValueError(
                f"{name} must have the dtype and device of x; got {name} {describe(other)} and "
                f"x {describe(reference)}. Move or cast one of them with .to()."
            )


def wants_triton(backend: str, x: Tensor) -> bool:
    """Whether the Triton version is to be asked.

    Only CUDA tensors may import Triton unasked: an import costs a second and may be impossible.
    """
    return backend == "triton" or (backend == "auto" and x.is_cuda)


def triton_version(module: str) -> ModuleType | None:
    """Import a module that imports Triton; None where Triton is not installed.

    Args:
        module: Its whole name, such as `kernels.depthwise_conv_triton`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "triton":
            raise
        return None


def refusal(
    x: Tensor, module: ModuleType | None, dtypes: Collection[torch.dtype] = SERVED_DTYPES
) -> str | None:
    """Say why Triton kernels cannot take `x` for its dtype, device or emptiness; None if they can.

    Args:
        x: The main tensor; the others are already known to be on its device.
        module: What `triton_version` returned.
        dtypes: What the kernels serve.
    """
    if module is None:
        return "Triton is not installed (on Linux: pip install 'triton>=3.6')"
    if x.dtype not in dtypes:
        return f"dtype {x.dtype}"
    if x.numel() == 0:
        return "an empty tensor"
    from kernels.activation_triton import INTERPRETED

    if INTERPRETED:
        return None if x.device.type in ("cpu", "cuda") else f"device {x.device}"
    if not x.is_cuda:
        return f"device {x.device}"
    capability = torch.cuda.get_device_capability(x.device)
    return f"compute capability {capability}" if capability < (8, 0) else None


def chosen(
    backend: str,
    module: str,
    refuse: Callable[[ModuleType | None], str | None],
    served: str,
    given: Mapping[str, Tensor | int],
) -> ModuleType | None:
    """Return the Triton version if it is to run; None if torch is.

    Args:
        backend: A name in `BACKENDS`.
        module: What imports Triton, such as `kernels.depthwise_conv_triton`.
        refuse: Says why the version, None where Triton is missing, cannot take the tensors.
        served: What it would serve, for the message.
        given: What matters of the arguments by name, the main tensor first.

    Raises:
        NotImplementedError: If `triton` is insisted on and cannot take the tensors.
    """
    first = next(value for value in given.values() if isinstance(value, Tensor))
    if not wants_triton(backend, first):
        return None
    version = triton_version(module)
    reason = refuse(version)
    if reason is None:
        return version
    if backend == "triton":
        shown = [
            f"{name} {describe(value) if isinstance(value, Tensor) else value}"
            for name, value in given.items()
        ]
        tensors = shown[0] + (" with " if shown[1:] else "") + " and ".join(shown[1:])
        raise NotImplementedError(
            f"backend='triton' does not serve {tensors}: {reason}; {served}. Use backend='auto' "
            "to fall back on torch."
        )
    return None


def grad_refusal(*tensors: Tensor | None) -> str | None:
    """Say that kernels without gradients cannot take these tensors; None if none is asked for."""
    asked = any(tensor is not None and tensor.requires_grad for tensor in tensors)
    if torch.is_grad_enabled() and asked:
        return "a gradient, of which torch.no_grad() asks for none"
    return None


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Keep autocast from undoing float32 sums; some devices, such as meta, have none."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
