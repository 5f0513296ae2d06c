"""How many blocks and warps of a kernel one multiprocessor (SM) holds at once.

The rules are those of NVIDIA's `cuda_occupancy.h` (CUDA 13.0, also in Triton's wheel): registers
are given to a warp in steps of 256 out of one of four sub-partitions, shared memory to a block in
steps of 128 bytes on top of 1 KiB that the driver keeps. The largest carve-out of shared memory
is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

_WARP_THREADS = 32
_SM_REGISTERS = 65_536
_PARTITIONS = 4
_REGISTER_STEP = 256
_SHARED_STEP = 128
_RESERVED_SHARED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one SM of a compute capability holds."""

    blocks: int
    """Resident blocks at most."""
    warps: int
    """Resident warps at most."""
    shared_bytes: int
    """Shared memory at the largest carve-out, in bytes; a block may take 1 KiB less."""


def _limits(blocks: int, warps: int, shared_kib: int) -> Limits:
    return Limits(blocks=blocks, warps=warps, shared_bytes=shared_kib * 1024)


# Blocks: `cudaOccMaxBlocksPerMultiprocessor` in cuda_occupancy.h of CUDA 13.0. Warps and shared
# memory: CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability".
LIMITS: dict[str, Limits] = {
    "sm_80": _limits(32, 64, 164),
    "sm_86": _limits(16, 48, 100),
    "sm_87": _limits(16, 48, 164),
    "sm_89": _limits(24, 48, 100),
    "sm_90": _limits(32, 64, 228),
    "sm_100": _limits(32, 64, 228),
    "sm_103": _limits(32, 64, 228),
    "sm_120": _limits(24, 48, 100),
    "sm_121": _limits(24, 48, 100),
}
"""By architecture. Every one has 65,536 registers of 32 bits an SM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """What fits on one SM, and what keeps more from fitting."""

    blocks: int
    """Resident blocks; 0 if not even one fits."""
    warps: int
    """Resident warps."""
    share: float
    """Resident warps as a share of the most that the SM holds: from 0 to 1."""
    limit: str
    """What runs out first: `registers`, `shared memory`, `warps` or `blocks`."""


def occupancy(
    architecture: str, *, registers: int, warps: int, shared_bytes: int
) -> Occupancy | None:
    """Work out the occupancy of a kernel.

    Args:
        architecture: Such as `sm_80`.
        registers: 32-bit registers a thread, from 1 to 255.
        warps: Warps in a block, from 1 to 32.
        shared_bytes: Shared memory a block, in bytes.

    Returns:
        The occupancy; None for an architecture that `LIMITS` does not list.
    """
    limits = LIMITS.get(architecture)
    if limits is None:
        return None
    warp_registers = _round_up(registers * _WARP_THREADS, _REGISTER_STEP)
    # The check at launch assumes that a block lies on all partitions evenly.
    launches = warp_registers * _round_up(warps, _PARTITIONS) <= _SM_REGISTERS
    held = _SM_REGISTERS // _PARTITIONS // warp_registers * _PARTITIONS
    shared = _round_up(shared_bytes + _RESERVED_SHARED, _SHARED_STEP)
    # In this order the first of equals is the one named: what a kernel can change comes last.
    counts = {
        "blocks": limits.blocks,
        "warps": limits.warps // warps,
        "registers": held // warps if launches else 0,
        "shared memory": limits.shared_bytes // shared,
    }
    limit = min(counts, key=lambda name: counts[name])
    blocks = counts[limit]
    return Occupancy(
        blocks=blocks, warps=blocks * warps, share=blocks * warps / limits.warps, limit=limit
    )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
