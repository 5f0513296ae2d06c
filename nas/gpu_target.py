"""The GPU that kernels are compiled for: a device that can be priced, or an architecture alone."""

from __future__ import annotations

from dataclasses import dataclass

from hwprofile.device import Device, UnknownTargetError, device_names, load_device
from kernels.occupancy import LIMITS


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
        name: a name of `device_names()`, a path of a TOML file, or an architecture.

    Raises:
        UnknownTargetError: there is none, or its architecture is not in `LIMITS`.
        DeviceFileError: the file's figures cannot be right.
    """
    if name.startswith("sm_"):
        _check(name, name)
        return GpuTarget(name=name, architecture=name, device=None)
    if name not in device_names() and not name.endswith(".toml"):
        raise UnknownTargetError(
            f"a target must be one of {', '.join(device_names())}, a path to a .toml file, or an "
            f"architecture such as sm_90; got {name!r}"
        )
    device = load_device(name)
    architecture = f"sm_{device.capability.replace('.', '')}"
    _check(name, architecture)
    return GpuTarget(name=name, architecture=architecture, device=device)


def _check(name: str, architecture: str) -> None:
    if architecture not in LIMITS:
        also = "" if name == architecture else f", which is {architecture}"
        raise UnknownTargetError(
            f"kernels are compiled for {', '.join(LIMITS)} (an A100 is sm_80, an H100 sm_90); got "
            f"{name!r}{also}"
        )
