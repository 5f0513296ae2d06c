"""Occupancy against what NVIDIA's own `cuda_occupancy.h` (CUDA 13.0) answers."""

from __future__ import annotations

import pytest

from kernels.occupancy import occupancy

# Architecture, registers, warps, shared bytes, resident blocks: drawn at random from 8,568
# answers of cudaOccMaxActiveBlocksPerMultiprocessor, all of which agreed, at the largest carve-out.
ANSWERS = [
    ("sm_80", 40, 4, 98304, 1),
    ("sm_80", 48, 8, 16384, 5),
    ("sm_80", 48, 8, 33000, 4),
    ("sm_80", 72, 8, 512, 3),
    ("sm_80", 80, 1, 16384, 9),
    ("sm_80", 170, 4, 65536, 2),
    ("sm_80", 170, 32, 33000, 0),
    ("sm_86", 64, 1, 33000, 3),
    ("sm_86", 64, 2, 0, 16),
    ("sm_86", 107, 1, 16384, 5),
    ("sm_86", 107, 8, 512, 2),
    ("sm_86", 128, 4, 512, 4),
    ("sm_86", 139, 16, 0, 0),
    ("sm_86", 168, 8, 512, 1),
    ("sm_87", 16, 2, 65536, 2),
    ("sm_87", 16, 8, 0, 6),
    ("sm_87", 48, 8, 512, 5),
    ("sm_87", 102, 4, 49152, 3),
    ("sm_87", 102, 8, 101376, 1),
    ("sm_87", 107, 32, 33000, 0),
    ("sm_87", 128, 4, 33000, 4),
    ("sm_89", 24, 16, 65536, 1),
    ("sm_89", 32, 16, 512, 3),
    ("sm_89", 40, 1, 166912, 0),
    ("sm_89", 40, 4, 16384, 5),
    ("sm_89", 64, 8, 16384, 4),
    ("sm_89", 96, 1, 512, 20),
    ("sm_89", 200, 4, 512, 2),
    ("sm_90", 16, 8, 8192, 8),
    ("sm_90", 72, 2, 65536, 3),
    ("sm_90", 80, 2, 166912, 1),
    ("sm_90", 96, 4, 1024, 5),
    ("sm_90", 96, 8, 101376, 2),
    ("sm_90", 128, 32, 512, 0),
    ("sm_90", 255, 2, 512, 4),
    ("sm_100", 16, 32, 101376, 2),
    ("sm_100", 40, 16, 16384, 3),
    ("sm_100", 64, 4, 1024, 8),
    ("sm_100", 96, 4, 33000, 5),
    ("sm_100", 107, 32, 0, 0),
    ("sm_100", 139, 1, 166912, 1),
    ("sm_100", 255, 2, 0, 4),
    ("sm_120", 64, 1, 0, 24),
    ("sm_120", 64, 8, 33000, 3),
    ("sm_120", 64, 32, 1024, 1),
    ("sm_120", 72, 4, 16384, 5),
    ("sm_120", 102, 4, 16384, 4),
    ("sm_120", 168, 4, 49152, 2),
    ("sm_120", 200, 2, 166912, 0),
]


@pytest.mark.parametrize(("architecture", "registers", "warps", "shared", "blocks"), ANSWERS)
def test_agrees_with_the_vendor(architecture, registers, warps, shared, blocks):
    found = occupancy(architecture, registers=registers, warps=warps, shared_bytes=shared)
    assert found is not None
    assert (found.blocks, found.warps) == (blocks, blocks * warps)


@pytest.mark.parametrize(
    ("registers", "warps", "shared", "limit", "share"),
    [
        (32, 8, 0, "warps", 1.0),
        (32, 1, 0, "blocks", 0.5),
        (128, 4, 0, "registers", 0.25),
        (32, 4, 65536, "shared memory", 0.125),
    ],
)
def test_names_what_runs_out(registers, warps, shared, limit, share):
    found = occupancy("sm_80", registers=registers, warps=warps, shared_bytes=shared)
    assert found is not None
    assert (found.limit, found.share) == (limit, share)


def test_unknown_limits_are_not_guessed():
    assert occupancy("sm_130", registers=32, warps=4, shared_bytes=0) is None
