"""Targets that rest on a table of `nas profile`: this machine's GPU, and any table by its path."""

from __future__ import annotations

from pathlib import Path

import torch

from hwprofile.cuda_target import cuda_target
from hwprofile.device import Device, UnknownTargetError, device_names, load_device
from hwprofile.machine import Machine, machine_of
from hwprofile.measured_target import MeasuredTarget
from hwprofile.profile_place import profile_path
from hwprofile.profile_table import ProfileError, read_profile
from hwprofile.runtime import Runtime


def shipped_device(machine: Machine) -> Device | None:
    """The published figures of a GPU, by the name that CUDA gives it; None if they do not ship."""
    names = set(machine.device.split()) - {"NVIDIA", "Tesla", "HBM3"}
    for name in device_names():
        found = load_device(name)
        if found.capability == machine.instructions and names <= set(found.title.split()):
            return found
    return None


def local_target(*, runtime: Runtime, coverage: float) -> MeasuredTarget:
    """This machine's GPU, from the profile that was measured on it.

    Raises:
        UnknownTargetError: torch sees no GPU.
        ProfileError: it was not profiled, or its table must not be used.
    """
    if not torch.cuda.is_available():
        raise UnknownTargetError(
            "--target local is this machine's GPU, and torch sees none: name a device of 'nas "
            "targets', or take cpu"
        )
    machine = machine_of(torch.device("cuda"))
    path = profile_path(machine)
    if not path.is_file():
        raise ProfileError(
            f"{machine.device} must be measured before it prices: nas profile --target local"
        )
    return table_target(path, runtime=runtime, coverage=coverage, machine=machine)


def table_target(
    path: Path, *, runtime: Runtime, coverage: float, machine: Machine | None = None
) -> MeasuredTarget:
    """The GPU that a table was measured on.

    Args:
        path: a table of `nas profile`.
        runtime: what launches the kernels.
        coverage: share of measurements that ranges are to hold.
        machine: the machine that the table must be of; None takes one of any.

    Raises:
        ProfileError: the table is missing or damaged, or of a CPU or an unknown GPU.
    """
    profile = read_profile(path, machine)
    device = shipped_device(profile.machine) if profile.machine.kind == "cuda" else None
    if device is None:
        raise ProfileError(
            f"{path}: a table prices where the figures of its GPU ship ({', '.join(device_names())}"
            f"); it is of {profile.machine.device}"
        )
    return MeasuredTarget(cuda_target(device, runtime=runtime, coverage=coverage), profile)
