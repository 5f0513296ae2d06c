"""Benchmark problems: torch's own way computes what the operation means; counts are of the task."""

from __future__ import annotations

import pytest
import torch
from torch.utils._pytree import tree_leaves

from kernels import bench_problems as problems
from kernels.bench_problems import bench_operations, bench_problems, select
from kernels.catalogue import UnknownOperationError, load_operation, operation_names

_SMALL = (
    problems._depthwise(1, 4, 9, 7),
    problems.inception_problem(1, 8, 9, 5),
    problems.dilated_problem(1, 3, 9),
    problems.long_conv_problem(2, 3, 8),
    problems._pointwise(1, 4, 6, 5),
    problems._dense(1, 4, 6, 5),
    problems.int8_conv_problem(1, 4, 6, 5),
    problems.gemm_problem(3, 8, 16),
    problems.int8_problem(20, 8, 16),
    problems.fp8_problem(16, 16, 32),
    problems.w4_problem(3, 8, 256),
    problems.attention_problem(1, 6),
    problems._norm("layer_norm", 3, 8),
    problems._norm("rms_norm", 3, 8),
    problems._elementwise(3, 8),
    *(problems.pool_problem(name, 1, 4, 8) for name in problems.POOLS),
    problems.gem_pool_problem(1, 4, 5),
    problems.eca_problem(1, 4, 5),
    problems._batch_norm(1, 4, 5),
    problems.squeeze_excite_problem(1, 8, 5),
    problems._inverted_residual(1, 4, 8, 5),
)


def test_the_small_problems_are_of_every_operation():
    assert {problem.operation for problem in _SMALL} == set(bench_operations())
    assert set(bench_operations()) == set(operation_names())


@pytest.mark.parametrize("problem", _SMALL, ids=lambda problem: problem.operation)
def test_torch_computes_what_the_operation_means(problem):
    arguments = problem.inputs(torch.float32, torch.device("cpu"))
    by_torch = problem.by_torch(**problem.torch_inputs(arguments))
    plain = load_operation(problem.operation).run(**arguments, backend="plain")
    for result in (by_torch, *(other(**arguments) for other in problem.others.values())):
        torch.testing.assert_close(result, plain, rtol=1e-4, atol=1e-4)
    tensors = [x for x in tree_leaves(arguments) if isinstance(x, torch.Tensor)]
    moved = sum(x.numel() * x.element_size() for x in (*tensors, by_torch))
    assert problem.moved(torch.float32) == moved


def test_names_differ_and_sizes_are_those_promised():
    found = bench_problems()
    assert len({(p.operation, p.name) for p in found}) == len(found)
    rows = {p.name.split("x")[0] for p in found if p.operation == "int8_gemm"}
    assert {"1", "8192"} <= rows
    depthwise = [p.name for p in found if p.operation == "depthwise_conv"]
    for batch in ("1x", "64x"):
        for kernel in ("kernel 7", "kernel 31"):
            assert any(n.startswith(batch) and n.endswith(kernel) for n in depthwise)


def test_only_operations_with_problems_are_selected():
    assert {p.operation for p in select(["gemm", "max_pool"])} == {"gemm", "max_pool"}
    assert len(select([])) == len(bench_problems())
    with pytest.raises(UnknownOperationError, match=r"timed are depthwise_conv, .*; got 'conv3d'"):
        select(["conv3d"])
