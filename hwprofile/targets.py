"""Targets by name: devices that ship, a device file of the user, this machine."""

from __future__ import annotations

from pathlib import Path

from hwprofile.cuda_target import cuda_target
from hwprofile.device import device_names, load_device
from hwprofile.runtime import RUNTIMES, Runtime, UnknownRuntimeError, get_runtime
from hwprofile.spread import check_coverage
from hwprofile.target import Target

CPU = "cpu"
"""The name of this machine's CPU."""
LOCAL = "local"
"""The name of this machine's GPU."""


def is_target(name: str) -> bool:
    """Whether a name is one of this module's: a device that ships, or a file."""
    return name in (LOCAL, CPU) or name.endswith((".toml", ".parquet")) or name in device_names()


def get_target(name: str, *, runtime: str | None = None, coverage: float = 0.9) -> Target:
    """The target called `name`.

    Args:
        name: `cpu` for this machine's, a device that ships, `local` for this machine's GPU, a path
            to a TOML file of the user, or to a table of `nas profile`.
        runtime: what launches the kernels; by default the first of the device's kind.
        coverage: share of measurements that ranges are to hold.

    Raises:
        UnknownTargetError: no such name, or no such file.
        DeviceFileError: the file's figures cannot be right.
        UnknownRuntimeError: no such runtime, or not on this device.
        CoverageError: no such coverage.
        NoProfileError: `cpu` was not measured yet.
        ProfileError: nothing was measured, or the table must not be used.
    """
    check_coverage(coverage)
    if name == CPU:
        from hwprofile.cpu_target import cpu_target  # heavy: torch

        return cpu_target(runtime=_runtime(name, runtime, "cpu"), coverage=coverage)
    chosen = _runtime(name, runtime, "cuda")
    if name == LOCAL or name.endswith(".parquet"):
        from hwprofile.local import local_target, table_target  # heavy: torch

        if name == LOCAL:
            return local_target(runtime=chosen, coverage=coverage)
        return table_target(Path(name), runtime=chosen, coverage=coverage)
    return cuda_target(load_device(name), runtime=chosen, coverage=coverage)


def _runtime(target: str, name: str | None, kind: str) -> Runtime:
    """The runtime called `name` for a target of a kind; its default without a name."""
    fitting = {n: runtime for n, runtime in RUNTIMES.items() if runtime.kind == kind}
    if name is None:
        return next(iter(fitting.values()))
    if get_runtime(name).name not in fitting:
        raise UnknownRuntimeError(
            f"a runtime of {target} must be one of {', '.join(fitting)}; got '{name}'"
        )
    return fitting[name]
