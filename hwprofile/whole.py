"""How long whole networks take on this machine, run as a runtime runs them.

On a shared machine single times can be many times too long. Networks are therefore timed turn by
turn, so that a busy moment meets all of them. On a CPU the process keeps its memory from the
first network on (`hwprofile.heap`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from hwprofile.clock import Timing, timing_of_samples
from hwprofile.heap import keep_memory
from hwprofile.runtime import Runtime

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Number formats that a network is run in, by scheme."""
_LEAST, _MOST = 5, 50
"""Samples of each network."""
_WARM_UPS = 2

Network = Callable[[], object]
"""Runs a network once; returns when its result is there."""


class WholeError(ValueError):
    """A runtime or precision that networks cannot be run in here."""


def ready(
    module: nn.Module,
    shape: Sequence[int],
    runtime: Runtime,
    scheme: str,
    *,
    device: torch.device,
    seed: int = 0,
) -> Network:
    """Bring a network and a random input to a device, and compile it where the runtime does.

    Args:
        module: in evaluation mode; is moved and converted.
        shape: of its input, with the batch.
        runtime: what runs it; of the device's kind.
        scheme: one of `DTYPES`; as the runtime has it, by autocast or for all tensors.
        device: `cpu`, or a GPU of this machine.
        seed: decides the input.

    Returns:
        A call that runs the network once; it ran already, so nothing is compiled later.

    Raises:
        WholeError: the runtime is not of the device's kind, or the scheme is none that is run.
    """
    if runtime.kind != device.type:
        raise WholeError(
            f"a network runs on a {device.type} in a runtime of its kind; {runtime.name} is of "
            f"{runtime.kind}"
        )
    if scheme not in DTYPES:
        raise WholeError(f"networks are run in {', '.join(DTYPES)}; got '{scheme}'")
    if device.type == "cpu":
        keep_memory()
    dtype = DTYPES[scheme]
    casts = runtime.casts and dtype != torch.float32
    # On a CPU networks are given row-major images: what is compiled changes them by itself.
    last = runtime.layout == "nhwc" and runtime.kind == "cuda"
    layout = torch.channels_last if last else torch.contiguous_format
    module = module.to(device, torch.float32 if casts else dtype)
    x = torch.rand(tuple(shape), generator=torch.Generator().manual_seed(seed))
    x = x.to(device, torch.float32 if casts else dtype)
    if x.dim() == 4:
        module = module.to(memory_format=layout)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=layout)
    run: Callable[[torch.Tensor], object] = torch.compile(module) if runtime.fuses else module
    cast = torch.autocast(device.type, dtype) if casts else nullcontext()
    # Freezing takes weights for constants, which torch refuses in inference mode.
    mode = torch.no_grad if runtime.fuses else torch.inference_mode
    network = _network(run, x, mode, cast, device)
    with _freezing(runtime):
        for _ in range(_WARM_UPS):
            network()
    return network if runtime.dispatches else _replayed(run, x, device)


def time_networks(
    networks: Mapping[str, Network], *, seconds: float, on_turn: Callable[[], None] = lambda: None
) -> dict[str, Timing]:
    """Time networks of `ready`, turn by turn.

    Args:
        networks: by name.
        seconds: about how long each is timed; slow ones take 5 samples anyway.
        on_turn: called behind every turn.

    Returns:
        By name: wall times, and the least time of this process on all its threads, which a busy
        machine disturbs less.
    """
    walls: dict[str, list[float]] = {name: [] for name in networks}
    cpus: dict[str, list[float]] = {name: [] for name in networks}
    rounds = dict.fromkeys(networks, _LEAST)
    turn = 0
    while turn < max(rounds.values(), default=0):
        for name, network in networks.items():
            if turn >= rounds[name]:
                continue
            wall, cpu = time.perf_counter_ns(), time.process_time_ns()
            network()
            cpus[name].append((time.process_time_ns() - cpu) * 1e-6)
            walls[name].append((time.perf_counter_ns() - wall) * 1e-6)
            if turn == 0:
                whole = int(seconds * 1e3 / max(walls[name][0], 1e-3))
                rounds[name] = max(_LEAST, min(_MOST, whole))
        turn += 1
        on_turn()
    return {name: timing_of_samples(walls[name], min(cpus[name])) for name in networks}


def forget_compiled() -> None:
    """Free what compiled networks hold; those of `ready` must not be called any more."""
    torch.compiler.reset()
    gc.collect()


def _network(
    run: Callable[[torch.Tensor], object],
    x: torch.Tensor,
    mode: Callable[[], AbstractContextManager[object]],
    cast: AbstractContextManager[object],
    device: torch.device,
) -> Network:
    def network() -> object:
        with mode(), cast:
            result = run(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return network


def _freezing(runtime: Runtime) -> AbstractContextManager[object]:
    if not runtime.fuses:
        return nullcontext()
    from torch._inductor import config  # seconds of import that only compiling needs

    patched: AbstractContextManager[object] = config.patch(freezing=True)
    return patched


def _replayed(
    run: Callable[[torch.Tensor], object], x: torch.Tensor, device: torch.device
) -> Network:
    """A CUDA graph of a call that ran before."""
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        kept = run(x)

    def network() -> object:
        graph.replay()
        torch.cuda.synchronize(device)
        return kept

    return network
