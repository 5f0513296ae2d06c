"""Compile a Triton kernel for a GPU that is not here, and read what it uses.

Neither a GPU nor a driver is needed: Triton lowers the kernel to a cubin, and `cuobjdump` and
`nvdisasm`, which ship inside Triton's wheel, read registers, memory and instructions from it. The
same kernel differs from one Triton version to the next, so the version is part of every record.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kernels import compile_cache, sass
from kernels.occupancy import Occupancy, occupancy
from kernels.sass import Loop
from kernels.toolchain import (
    AheadOfTimeError,
    assembler_version,
    import_triton,
    parse_usage,
    run_tool,
)

_WARP_THREADS = 32
_TRITON_DTYPES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.float8_e5m2: "fp8e5",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int16: "i16",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.bool: "i1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSource:
    """A Triton kernel with everything that its compilation depends on, short of the GPU."""

    kernel: Any
    """The `@triton.jit` function."""
    signature: Mapping[str, str]
    """Triton type of every run-time argument by its name, such as `*fp16` (a pointer) or `i32`."""
    constants: Mapping[str, int | bool | str | None]
    """Value of every `tl.constexpr` argument by its name."""
    aligned: frozenset[str] = frozenset()
    """Run-time arguments that are multiples of 16 (pointers: in bytes). The launcher finds this
    out by itself; it decides whether loads are vectors."""
    warps: int = 4
    """Warps (of 32 threads) in a block: a power of two."""
    stages: int = 3
    """Stages that a loop with `tl.dot` is pipelined in; 3 is what a launch takes by default."""
    programs: int | None = None
    """Blocks that a launch for the shape in question would start, if that is known. It changes
    nothing in the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one kernel takes on one GPU architecture: all that is known without its instructions."""

    registers: int
    """32-bit registers a thread; 255 at most."""
    stack_bytes: int
    """Local memory a thread, in bytes. Spilled registers go there: without any, none spills."""
    shared_bytes: int
    """Shared memory a block, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledKernel:
    """What one kernel uses on one GPU architecture, as compiled by one Triton version."""

    name: str
    """The kernel function."""
    architecture: str
    """Such as `sm_80`."""
    triton_version: str
    """Part of every key: registers and occupancy change with it."""
    ptx_version: str
    """The PTX language version that Triton emitted, such as `8.7`."""
    warps: int
    """Warps in a block."""
    registers: int
    """32-bit registers a thread; 255 at most."""
    stack_bytes: int
    """Local memory a thread, in bytes: where spilled registers go."""
    spills: int
    """Instructions in the code that write or read local memory; 0 is the aim."""
    shared_bytes: int
    """Shared memory a block, in bytes."""
    instructions: tuple[tuple[str, int], ...] = field(repr=False)
    """Mnemonic without modifiers (`FFMA`, `LDG`) and its count in the code, commonest first.
    Counts of the text: a loop body counts once, however often it runs."""
    loops: tuple[Loop, ...] = field(default=(), repr=False)
    """Loops of the code, in its order, with the instructions of one iteration."""

    @property
    def main_loop(self) -> Loop | None:
        """The innermost loop that multiplies most, or else the longest; None without loops."""
        return sass.main_loop(self.loops)

    @property
    def occupancy(self) -> Occupancy | None:
        """What one multiprocessor holds; None for an architecture whose limits are not known."""
        return occupancy(
            self.architecture,
            registers=self.registers,
            warps=self.warps,
            shared_bytes=self.shared_bytes,
        )

    @property
    def threads(self) -> int:
        """Threads in a block."""
        return self.warps * _WARP_THREADS

    def count(self, *mnemonics: str) -> int:
        """Add up the instructions that carry one of these mnemonics; 0 if none does."""
        return sum(number for mnemonic, number in self.instructions if mnemonic in mnemonics)

    def share(self, *mnemonics: str) -> float:
        """Divide `count` by the number of all instructions: from 0 to 1."""
        return self.count(*mnemonics) / max(1, sum(number for _, number in self.instructions))


def specialise(
    kernel: Any,
    *,
    constants: Mapping[str, int | bool | str | None],
    dtype: torch.dtype,
    pointers: Mapping[str, torch.dtype],
    multiples_of_16: Iterable[str],
    warps: int,
    stages: int = 3,
    programs: int | None = None,
    floats: Collection[str] = (),
) -> KernelSource:
    """Describe a kernel whose pointers end in `_ptr` and whose other run-time arguments are i32.

    Args:
        kernel: The `@triton.jit` function.
        constants: Value of every `tl.constexpr` argument by its name.
        dtype: What the pointers point at: a floating-point, fp8, integer or boolean dtype.
        pointers: The pointers that differ from `dtype`; names the kernel lacks are ignored.
        multiples_of_16: Integers that are; names the kernel lacks are ignored. Pointers always
            count as aligned, as torch's allocations are.
        warps: Warps in a block.
        stages: Stages that a loop is pipelined in.
        programs: Blocks that a launch would start.
        floats: Run-time arguments that are float32 numbers.
    """
    names = [name for name in kernel.arg_names if name not in constants]
    signature = {name: "fp32" if name in floats else "i32" for name in names}
    for name in names:
        if name.endswith("_ptr"):
            signature[name] = f"*{_TRITON_DTYPES[pointers.get(name, dtype)]}"
    multiples = set(multiples_of_16)
    return KernelSource(
        kernel=kernel,
        signature=signature,
        constants=constants,
        aligned=frozenset(n for n in names if n.endswith("_ptr") or n in multiples),
        warps=warps,
        stages=stages,
        programs=programs,
    )


def compile_kernel(
    source: KernelSource, architecture: str, *, cached: bool = True
) -> CompiledKernel:
    """Compile a kernel for a named GPU architecture and read its resources.

    Takes 0.2–1.3 s a kernel on a CPU core, much more when registers spill; the record on disk
    answers a repeated request. See `kernels.compile_cache` for where it lies.

    Args:
        source: The kernel and its specialisation.
        architecture: `sm_` and the compute capability without its dot: `sm_80`, `sm_90`.
        cached: Whether records on disk are read and written.

    Returns:
        The record of the compiled kernel.

    Raises:
        ValueError: If the architecture's name or the source's arguments do not fit.
        AheadOfTimeError: If Triton, its tools or the compilation fail.
    """
    capability, triton = _prepare(source, architecture)
    if not cached:
        return _compile_and_read(triton, source, capability)
    key = key_of(source, architecture)
    record = compile_cache.read(key)
    if record is not None:
        return _unpack(record)
    compiled = _compile_and_read(triton, source, capability)
    compile_cache.write(key, dataclasses.asdict(compiled))
    return compiled


def read_resources(source: KernelSource, architecture: str) -> Resources:
    """Compile a kernel for a named GPU architecture and read what it takes.

    Without the instructions, whose listing takes as long as compiling a small kernel. Nothing but
    Triton's own cache is read or written.

    Args:
        source: The kernel and its specialisation.
        architecture: As of `compile_kernel`.

    Raises:
        ValueError: As `compile_kernel`.
        AheadOfTimeError: As `compile_kernel`.
    """
    capability, triton = _prepare(source, architecture)
    compiled = _compile(triton, source, capability)
    with _written(compiled) as cubin:
        return _resources(triton, compiled, cubin)


def key_of(source: KernelSource, architecture: str) -> str:
    """Hash what the record depends on: kernels with equal keys are compiled to the same code.

    Triton's own key covers the functions that the kernel calls.

    Raises:
        AheadOfTimeError: If the kernel is interpreted, or Triton is missing.
        ValueError: If the source's arguments do not fit.
    """
    _check_arguments(source)
    return compile_cache.key_of(
        {
            "kernel": source.kernel.cache_key,
            "signature": dict(source.signature),
            "constants": {name: repr(value) for name, value in source.constants.items()},
            "aligned": sorted(source.aligned),
            "warps": source.warps,
            "stages": source.stages,
            "architecture": architecture,
            "triton": import_triton().__version__,
            "assembler": assembler_version(),
        }
    )


def capability_of(architecture: str) -> tuple[int, int]:
    """Return the compute capability of an architecture: (8, 0) for `sm_80`.

    Raises:
        ValueError: If it is not `sm_` and a compute capability of at least 80.
    """
    return divmod(_capability(architecture), 10)


def _prepare(source: KernelSource, architecture: str) -> tuple[int, Any]:
    """Return the compute capability, such as 80, and Triton, if both and the arguments fit."""
    capability = _capability(architecture)
    triton = import_triton()
    _check_arguments(source)
    return capability, triton


def _capability(architecture: str) -> int:
    match = re.fullmatch(r"sm_(\d{2,3})", architecture)
    if match is None or int(match[1]) < 80:
        raise ValueError(
            "architecture must be sm_ and a compute capability of at least 80, such as sm_80 "
            f"(A100) or sm_90 (H100); got {architecture!r}"
        )
    return int(match[1])


def _unpack(record: Mapping[str, Any]) -> CompiledKernel:
    """Turn JSON's lists back into tuples and loops."""
    loops = tuple(
        Loop(**{**loop, "instructions": tuple(map(tuple, loop["instructions"]))})
        for loop in record["loops"]
    )
    instructions = tuple(map(tuple, record["instructions"]))
    return CompiledKernel(**{**record, "instructions": instructions, "loops": loops})


def _compile_and_read(triton: Any, source: KernelSource, capability: int) -> CompiledKernel:
    compiled = _compile(triton, source, capability)
    with _written(compiled) as cubin:
        resources = _resources(triton, compiled, cubin)
        # Without the analysis of indirect branches, which takes a third of the time.
        listing = run_tool(triton, "nvdisasm", "-c", "-ndf", str(cubin))
    try:
        code, labels = sass.parse(listing)
    except sass.ListingError as error:
        raise AheadOfTimeError(
            f"nvdisasm -c: {error}. Use the nvdisasm of a supported Triton (3.6 or later)."
        ) from error
    instructions = sass.count(code)
    return CompiledKernel(
        name=source.kernel.__name__,
        architecture=f"sm_{capability}",
        triton_version=triton.__version__,
        ptx_version=_ptx_version(compiled.asm["ptx"]),
        warps=source.warps,
        registers=resources.registers,
        stack_bytes=resources.stack_bytes,
        spills=sum(number for name, number in instructions if name in sass.CLASSES["spill"]),
        shared_bytes=resources.shared_bytes,
        instructions=instructions,
        loops=sass.find_loops(code, labels),
    )


@contextmanager
def _written(compiled: Any) -> Iterator[Path]:
    """The machine code in a file, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        yield cubin


def _resources(triton: Any, compiled: Any, cubin: Path) -> Resources:
    usage = parse_usage(run_tool(triton, "cuobjdump", "-res-usage", str(cubin)))
    return Resources(
        registers=usage["REG"],
        stack_bytes=usage["STACK"] + usage["LOCAL"],
        shared_bytes=int(compiled.metadata.shared),
    )


def _check_arguments(source: KernelSource) -> None:
    """Raise unless the source gives each of its kernel's arguments exactly once."""
    if not hasattr(source.kernel, "cache_key"):
        raise AheadOfTimeError(
            f"{source.kernel.__name__} is not a compilable Triton kernel but a "
            f"{type(source.kernel).__name__}. If TRITON_INTERPRET=1 was set when its module was "
            "imported, unset it and start a new process."
        )
    wanted = list(source.kernel.arg_names)
    given = [*source.signature, *source.constants]
    if sorted(wanted) != sorted(given) or not source.aligned <= set(source.signature):
        raise ValueError(
            f"{source.kernel.__name__} takes the arguments {wanted}, each in signature or "
            f"constants, and aligned names run-time ones; got signature {list(source.signature)}, "
            f"constants {list(source.constants)}, aligned {sorted(source.aligned)}"
        )


def _compile(triton: Any, source: KernelSource, capability: int) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import PTXASError

    names = list(source.kernel.arg_names)
    ast = ASTSource(
        fn=source.kernel,
        signature={name: source.signature.get(name, "constexpr") for name in names},
        constexprs=dict(source.constants),
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in source.aligned},
    )
    # Fused multiply-add is asked for by name because its default changes between versions.
    options = {
        "num_warps": source.warps,
        "num_stages": source.stages,
        "enable_fp_fusion": True,
    }
    try:
        return triton.compile(
            ast, target=GPUTarget("cuda", capability, _WARP_THREADS), options=options
        )
    except (CompilationError, PTXASError, RuntimeError) as error:
        raise AheadOfTimeError(
            f"Triton {triton.__version__} cannot compile {source.kernel.__name__} for "
            f"sm_{capability} with {dict(source.constants)}: {_reason(error)}. Usual causes: a "
            "dtype that the architecture lacks (fp8e4nv before sm_89), blocks that are not powers "
            "of two, or an architecture newer than this Triton."
        ) from error


def _reason(error: Exception) -> str:
    """Pick the line that says what is wrong; the whole text stays with the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()]
    return (telling or lines[-1:] or [type(error).__name__])[0].rstrip(".")


def _ptx_version(ptx: str) -> str:
    match = re.search(r"^\.version\s+([\d.]+)", ptx, re.MULTILINE)
    return match[1] if match else "unknown"
