"""The device and the software that something is measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hwprofile.device import device_names, load_device

_MEMORY_TOLERANCE = 0.1
"""Part of a GPU's memory by which what a program sees may differ from what the maker says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What decides a measurement. Rows of two machines must not be mixed."""

    kind: str
    """`cpu` or `cuda`."""
    device: str
    """The maker's name of the processor."""
    threads: int
    """Threads that torch computes with; 0 on a GPU, where they do not matter."""
    torch: str
    """Version of torch."""
    triton: str
    """Version of Triton; empty on a CPU, where its kernels are not timed, or without it."""
    cuda: str
    """Versions of CUDA and cuDNN that torch brings; empty on a CPU."""
    driver: str
    """Version of the GPU's driver; empty on a CPU, or where nvidia-smi is missing."""
    instructions: str
    """Vector instructions that torch uses, such as `AVX512`; a GPU's compute capability."""

    def differs(self, other: Machine) -> list[str]:
        """Say what is not the same: `torch 2.12.0 instead of 2.13.0`, one a field."""
        mine, its = asdict(self), asdict(other)
        return [
            f"{name} {mine[name] or 'none'} instead of {its[name] or 'none'}"
            for name in mine
            if mine[name] != its[name]
        ]


def machine_of(device: torch.device) -> Machine:
    """This machine, seen as one of its devices."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return Machine(
            kind="cuda",
            device=torch.cuda.get_device_name(device),
            threads=0,
            torch=torch.__version__,
            triton=_version("triton"),
            cuda=f"{torch.version.cuda}, cuDNN {_cudnn()}",
            driver=_nvidia_smi(device, "driver_version"),
            instructions=f"{major}.{minor}",
        )
    return Machine(
        kind="cpu",
        device=_processor(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        triton="",
        cuda="",
        driver="",
        instructions=torch.backends.cpu.get_cpu_capability(),
    )


def device_here(target: str) -> torch.device | None:
    """The device of this machine that a target's name stands for; None where it is elsewhere.

    Args:
        target: `cpu`; `local`, this machine's GPU; or a device or file of one, which this machine's
            GPU is if it has the same multiprocessors and memory.

    Raises:
        UnknownTargetError, DeviceFileError: as `hwprofile.device.load_device`, for a file.
    """
    if target == "cpu":
        return torch.device("cpu")
    gpu = torch.device("cuda") if torch.cuda.is_available() else None
    if target == "local":
        return gpu
    if gpu is None or not (target in device_names() or target.endswith(".toml")):
        return None
    device, found = load_device(target), torch.cuda.get_device_properties(gpu)
    same = (
        f"{found.major}.{found.minor}" == device.capability
        and found.multi_processor_count == device.sms
        and abs(found.total_memory / 2**30 / device.dram_gib - 1) < _MEMORY_TOLERANCE
    )
    return gpu if same else None


def clocks_of(device: torch.device) -> dict[str, Any]:
    """Clocks in MHz at this moment, as far as they can be read."""
    if device.type != "cuda":
        lines = _cpu_lines("cpu MHz")
        return {"cpu_mhz": round(sum(map(float, lines)) / len(lines), 1)} if lines else {}
    found = {}
    for name in ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"):
        text = _nvidia_smi(device, name).removesuffix(" MHz")
        if text.isdecimal():
            found[name.removeprefix("clocks.").replace(".", "_") + "_mhz"] = int(text)
    return found


def _cudnn() -> str:
    return str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]


def _processor() -> str:
    names = _cpu_lines("model name")
    return f"{names[0] if names else platform.processor() or platform.machine()}, {_cores()} cores"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_lines(key: str) -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return []
    pairs = (line.partition(":") for line in text.splitlines())
    return [" ".join(value.split()) for name, _, value in pairs if name.strip() == key]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _nvidia_smi(device: torch.device, query: str) -> str:
    """One figure of a GPU; empty where the tool is missing or does not say."""
    # The tool numbers all boards, torch those it may see: a board's UUID is the same in both.
    uuid = str(torch.cuda.get_device_properties(device).uuid).removeprefix("GPU-")
    command = ["nvidia-smi", f"--id=GPU-{uuid}", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
