"""Where profiles of this machine are kept unless another place is given."""

from __future__ import annotations

import re
from pathlib import Path

from hwprofile.machine import Machine
from kernels.compile_cache import cache_folder


def profile_path(machine: Machine) -> Path:
    """One file a device and version, in the folder of cached files."""
    parts = [machine.device, f"torch-{machine.torch}"]
    parts += [f"triton-{machine.triton}"] if machine.triton else []
    parts += [f"{machine.threads}-threads"] if machine.threads else []
    name = re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")
    return cache_folder().parent / "profiles" / f"{name}.parquet"
