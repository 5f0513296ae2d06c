"""Every kernel of an operation, at every entry of its table of blocks, compiled for two GPUs."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from kernels.aot import read_resources
from kernels.catalogue import load_operation

OPERATIONS = (
    "depthwise_conv",
    "dilated_reparam",
    "inception_depthwise",
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "elementwise",
    "max_pool",
    "average_pool",
    "global_average_pool",
    "gem_pool",
    "attention",
    "squeeze_excite",
    "eca",
    "long_conv",
)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_kernel_spills(name, architecture):
    operation = load_operation(name)
    capability = (int(architecture[3]), int(architecture[4]))
    for number, problem in enumerate(operation.problems):
        sources = operation.sources(
            capability=capability,
            dtype=problem.dtype,
            shape=problem.shape,
            **{**operation.settings, **problem.settings},
        )
        # Gradients have no blocks of their own for sm_90: there one problem stands for all.
        every = architecture == "sm_80" or not number
        for role, source in sources.items():
            if not every and ("grad" in role or "backward" in role):
                continue
            assert read_resources(source, architecture).stack_bytes == 0, (problem, role)
