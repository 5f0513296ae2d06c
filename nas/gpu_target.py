"""The GPU that kernels are compiled for: a device that can be priced, or an architecture alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwprofile.device import Device, UnknownTargetError, device_names, load_device


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTarget:
    """What a kernel is compiled for."""

    name: str
    """As it was asked for."""
    architecture: str
    """Such as `sm_80`."""
    device: Device | None
    """The device; None if only an architecture was named."""


def gpu_target(name: str) -> GpuTarget:
    """Find the GPU called `name`.

    Args:
        name: a name of `device_names()`, a path of a TOML file, or `sm_` and a compute capability.

    Raises:
        UnknownTargetError: there is none, or its compute capability is below 8.0.
        DeviceFileError: the file's figures cannot be right.
    """
    if re.fullmatch(r"sm_\d+", name):
        _check(name, int(name[3:]))
        return GpuTarget(name=name, architecture=name, device=None)
    if name not in device_names() and not name.endswith(".toml"):
        raise UnknownTargetError(
            f"a target must be one of {', '.join(device_names())}, a path to a .toml file, or an "
            f"architecture such as sm_90; got {name!r}"
        )
    device = load_device(name)
    capability = device.capability.replace(".", "")
    _check(name, int(capability) if capability.isdecimal() else 0)
    return GpuTarget(name=name, architecture=f"sm_{capability}", device=device)


def _check(name: str, capability: int) -> None:
    # Two digits and more: 80 is 8.0, 120 is 12.0.
    if not 80 <= capability <= 999:
        raise UnknownTargetError(
            "kernels are compiled for compute capability 8.0 or later (sm_80 is an A100, sm_90 an "
            f"H100); {name} has {capability // 10}.{capability % 10}"
        )
