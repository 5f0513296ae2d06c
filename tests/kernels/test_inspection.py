"""Which kernels are compiled for a table, and that equal ones are compiled once."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from kernels import inspection
from kernels.catalogue import load_operation
from kernels.inspection import all_jobs, compile_jobs, inspect


def test_equal_kernels_are_compiled_once_and_every_job_is_answered(monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    compiled = []
    whole = inspection.compile_kernel

    def counted(source, architecture):
        compiled.append(source)
        return whole(source, architecture)

    monkeypatch.setattr(inspection, "compile_kernel", counted)
    operation = load_operation("elementwise")
    jobs = all_jobs(operation, "sm_80")[:2]
    found = dict(compile_jobs([*jobs, *jobs], workers=2))
    assert sorted(found) == [0, 1, 2, 3]
    assert len(compiled) == 2
    assert found[0] == found[2]
    assert inspect(operation, jobs[0].problem, "sm_80") == [found[0]]


def test_what_an_architecture_lacks_is_left_out():
    operation = load_operation("fp8_gemm")
    assert all_jobs(operation, "sm_80") == []
    assert all_jobs(operation, "sm_90")
