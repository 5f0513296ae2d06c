"""Compiling for GPUs that are not here. Triton's interpreter must be off in this process."""

from __future__ import annotations

import dataclasses
import pickle
import types

import pytest
import torch

from kernels import aot, toolchain
from kernels.aot import (
    CompiledKernel,
    KernelSource,
    capability_of,
    compile_kernel,
    read_resources,
    specialise,
)
from kernels.toolchain import AheadOfTimeError

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from kernels.depthwise_conv_sources import sources
from kernels.gemm_sources import sources as gemm_sources

ARCHITECTURES = {"sm_80": (8, 0), "sm_90": (9, 0)}


@pytest.fixture(autouse=True)
def _cold_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path / "nas"))


def depthwise(operation: str, architecture: str, **settings) -> KernelSource:
    channels = settings.pop("channels", 64)
    problem = {"dtype": torch.float16, "kernel": 7, "shape": (1, channels, 56, 56)} | settings
    return sources(capability=ARCHITECTURES[architecture], **problem)[operation]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("operation", "settings"),
    [
        ("forward", {"activation": "gelu"}),
        ("forward", {"activation": "gelu", "kernel": 3, "dtype": torch.float32}),
        ("forward", {"kernel": 31, "dtype": torch.bfloat16, "stride": 2}),
        ("input_grad", {"stride": 2}),
        ("weight_grad", {"kernel": 31, "dtype": torch.float32}),
    ],
)
def test_depthwise_compiles_without_spills(architecture, operation, settings):
    compiled = compile_kernel(depthwise(operation, architecture, **settings), architecture)
    assert (compiled.spills, compiled.stack_bytes) == (0, 0)
    # 128 registers leave room for four blocks of four warps on a multiprocessor of 65,536.
    assert 16 <= compiled.registers <= 128
    assert 0 <= compiled.shared_bytes <= 48 * 1024
    assert compiled.count("FFMA") > 0
    assert 0 < compiled.share("FFMA") < 1
    assert compiled.threads == 128
    # The innermost loop holds the work: a multiply-add and a load, and no constant set-up.
    assert compiled.main_loop is not None
    assert compiled.main_loop.mix["multiply-add"] > 0
    assert compiled.main_loop.loaded_bytes > 0
    assert compiled.occupancy is not None
    assert compiled.occupancy.blocks >= 4


def test_the_record_names_versions_and_travels():
    import triton

    compiled = compile_kernel(depthwise("input_grad", "sm_80", kernel=3), "sm_80")
    assert compiled.name == "depthwise_input_grad_kernel"
    assert compiled.architecture == "sm_80"
    assert compiled.triton_version == triton.__version__
    assert compiled.ptx_version.replace(".", "").isdigit()
    assert pickle.loads(pickle.dumps(compiled)) == compiled
    with pytest.raises(dataclasses.FrozenInstanceError):
        compiled.registers = 0  # type: ignore[misc]


@pytest.mark.parametrize("warps", [8, 2])
def test_resources_are_those_of_the_record_and_spills_are_on_the_stack(warps):
    # Two warps have 16,384 sums to hold: 256 a thread.
    source = gemm_sources(capability=(8, 0), dtype=torch.float16, shape=(4096, 1024, 1024))
    source = dataclasses.replace(source["forward"], warps=warps)
    resources, compiled = read_resources(source, "sm_80"), compile_kernel(source, "sm_80")
    for name in ("registers", "stack_bytes", "shared_bytes"):
        assert getattr(resources, name) == getattr(compiled, name)
    assert (resources.stack_bytes > 0) == (compiled.spills > 0) == (warps == 2)


def test_unaligned_channels_give_up_vector_loads():
    even = compile_kernel(depthwise("input_grad", "sm_80", channels=64), "sm_80")
    odd = compile_kernel(depthwise("input_grad", "sm_80", channels=63), "sm_80")
    assert odd.count("LDG") > even.count("LDG")


@pytest.mark.parametrize("architecture", ["a100", "sm_70", "80", "sm_90a"])
def test_an_unknown_architecture_is_refused(architecture):
    with pytest.raises(ValueError, match=r"such as sm_80 .* got"):
        compile_kernel(depthwise("forward", "sm_80"), architecture)


def test_arguments_must_fit_the_kernel():
    source = depthwise("forward", "sm_80")
    source = dataclasses.replace(source, constants={"KERNEL": 3})
    with pytest.raises(ValueError, match="each in signature or constants"):
        compile_kernel(source, "sm_80")


def test_an_interpreted_kernel_names_the_cure():
    kernel = types.SimpleNamespace(__name__="some_kernel", arg_names=[])
    source = KernelSource(kernel=kernel, signature={}, constants={})
    with pytest.raises(AheadOfTimeError, match=r"TRITON_INTERPRET=1 .* unset it"):
        compile_kernel(source, "sm_80")


def test_a_failed_compilation_says_what_and_why():
    source = depthwise("forward", "sm_80")
    source = dataclasses.replace(source, constants={**source.constants, "CHANNELS": 48})
    with pytest.raises(AheadOfTimeError, match="cannot compile depthwise_forward_kernel for sm_80"):
        compile_kernel(source, "sm_80")


def test_a_missing_tool_names_the_cure(monkeypatch):
    import triton

    tools = types.SimpleNamespace(cuobjdump=types.SimpleNamespace(path="/nowhere/cuobjdump"))
    monkeypatch.setattr(triton.knobs, "nvidia", tools)
    with pytest.raises(AheadOfTimeError, match="TRITON_CUOBJDUMP_PATH"):
        toolchain.run_tool(triton, "cuobjdump")


def test_usage_is_read():
    usage = " Function kernel:\n  REG:32 STACK:8 SHARED:1024 LOCAL:0 CONSTANT[0]:400 TEXTURE:0"
    assert toolchain.parse_usage(usage).items() >= {"REG": 32, "STACK": 8, "LOCAL": 0}.items()
    with pytest.raises(AheadOfTimeError, match="format may have changed"):
        toolchain.parse_usage("REG:32")


def test_shares_of_an_empty_listing_are_zero():
    assert stub().share("FFMA") == 0
    assert stub().main_loop is None


def test_a_record_on_disk_saves_the_compilation(monkeypatch):
    first = compile_kernel(depthwise("forward", "sm_80", kernel=3), "sm_80")
    monkeypatch.setattr(aot, "_compile_and_read", lambda *_: pytest.fail("compiled again"))
    assert compile_kernel(depthwise("forward", "sm_80", kernel=3), "sm_80") == first


@pytest.mark.parametrize(
    "change", [{"warps": 8}, {"stages": 1}, {"architecture": "sm_86"}, {"aligned": frozenset()}]
)
def test_what_changes_the_code_changes_the_key(change, monkeypatch):
    taken: list[str] = []
    monkeypatch.setattr(aot.compile_cache, "read", taken.append)
    monkeypatch.setattr(aot.compile_cache, "write", lambda *_: None)
    monkeypatch.setattr(aot, "_compile_and_read", lambda *_: stub())
    source = depthwise("forward", "sm_80")
    architecture = change.pop("architecture", "sm_80")
    compile_kernel(source, "sm_80")
    compile_kernel(dataclasses.replace(source, programs=7), "sm_80")
    compile_kernel(dataclasses.replace(source, **change), architecture)
    same, same_again, other = taken
    assert same == same_again != other


def stub() -> CompiledKernel:
    fields = dict.fromkeys(("warps", "registers", "stack_bytes", "spills", "shared_bytes"), 1)
    names = dict.fromkeys(("name", "architecture", "triton_version", "ptx_version"), "")
    return CompiledKernel(**fields, **names, instructions=())


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.float8_e4m3fn, "*fp8e4nv"), (torch.int8, "*i8"), (torch.int32, "*i32")],
)
def test_narrow_and_integer_dtypes_have_triton_names(dtype, name):
    kernel = types.SimpleNamespace(arg_names=["x_ptr", "size"])
    source = specialise(kernel, constants={}, dtype=dtype, pointers={}, multiples_of_16=(), warps=4)
    assert source.signature == {"x_ptr": name, "size": "i32"}


def test_architectures_are_capabilities():
    assert [capability_of(a) for a in ("sm_80", "sm_90", "sm_120")] == [(8, 0), (9, 0), (12, 0)]
