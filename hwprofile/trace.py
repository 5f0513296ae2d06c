"""From any `nn.Module` to the operations it runs, on meta tensors: nothing is computed.

Costs are traced, never hand-written: a dispatch mode sees every operation that the module's forward
makes, in inference mode, where composite operations such as `linear` arrive whole. Parameters stand
in as meta tensors, one by one as they are read, so the caller's module is neither copied nor moved.

In layout `nhwc` images are channels-last in memory throughout, as compiled runtimes keep them:
there a permute around a layer norm is free, a reshape is a copy only where that layout makes it
one, and what is computed from parameters alone is folded into them. In `nchw` inputs are row-major
and the record is of eager PyTorch on a CPU: every operation chooses the strides of its result, so
that a permuted image stays channels-last from there on, and computation on parameters is recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextvars import ContextVar
from traceback import walk_tb
from types import FrameType

import torch
from torch import nn

from hwprofile.dispatch import Recorder, TraceError, values_message
from hwprofile.left_as_found import left_as_found
from hwprofile.meta_shapes import empty
from hwprofile.record import OpCall, Record, Weight, chain, splice

__all__ = ["Hole", "OpCall", "Record", "TraceError", "Weight", "chain", "splice", "trace"]

_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
"""The mode at work, for holes to find."""
_SIGNS_OF_NO_VALUES = ("unallocated storage", "meta tensor", "meta device")


class Hole(nn.Module):
    """Stands in a composite for a child that is traced apart and put in by `splice`."""

    def __init__(self, index: int, out_shape: Sequence[int]) -> None:
        """Make the hole for one child.

        Args:
            index: Which child, as `splice` counts them.
            out_shape: The child's output without the batch, which the input gives.
        """
        super().__init__()
        self.index = index
        self.out_shape = tuple(out_shape)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Record a marker; works under `trace` alone."""
        recorder = _RECORDER.get()
        if recorder is None:
            raise RuntimeError("a hole computes nothing: trace its composite, or build the child")
        return recorder.mark(self, self.index, inputs, self.out_shape)


def trace(
    module: nn.Module,
    *inputs: Sequence[int] | torch.Tensor,
    dtype: torch.dtype | None = None,
    layout: str = "nhwc",
) -> Record:
    """Record the operations of a module's forward at inference.

    The module keeps its parameters, device and training flags; flags of modules in training are
    set to evaluation while the forward runs, so no other thread should run the module meanwhile.

    Args:
        module: Any module whose control flow does not depend on the values of its inputs.
        *inputs: For each input its shape with the batch, or a tensor whose shape and type to take.
        dtype: Element type of the inputs given as shapes; by default the first parameter's.
        layout: `nhwc` or `nchw`, as the runtime has it (`hwprofile.runtime.Runtime.layout`).

    Returns:
        The record; its outputs in the order in which tuples, lists, mappings and data classes are
        walked, without those that depend on no input.

    Raises:
        TraceError: Where the module needs other inputs, asks for values, writes into a buffer of
            its own, or fails.
    """
    if layout not in ("nhwc", "nchw"):
        raise ValueError(f"a layout must be nhwc or nchw; got '{layout}'")
    _check_inputs(module, len(inputs))
    recorder = Recorder(module, layout)
    with left_as_found(recorder.modules) as changed:
        record = _traced(recorder, module, inputs, dtype)
        if layout == "nchw" and changed():
            # It keeps what it computed from parameters alone: every later forward has it.
            record = _traced(Recorder(module, layout), module, inputs, dtype)
    return record


def _traced(
    recorder: Recorder,
    module: nn.Module,
    inputs: Sequence[Sequence[int] | torch.Tensor],
    dtype: torch.dtype | None,
) -> Record:
    """The record of one forward."""
    training = [m for m in recorder.modules if m.training]
    if dtype is None:
        floating = (p.dtype for p in recorder.parameters() if p.dtype.is_floating_point)
        dtype = next(floating, torch.float32)
    with torch.inference_mode():
        given = [_meta_input(shape, dtype, recorder.layout) for shape in inputs]
        recorder.start(given)
        token = _RECORDER.set(recorder)
        # Past `Module.__setattr__`, which would take longer than the forward itself.
        for m in training:
            m.__dict__["training"] = False
        try:
            with recorder:
                result = module(*given)
        except TraceError:
            raise
        except Exception as error:  # foreign code: whatever it raises is told, with its place
            path = recorder.path_of(_last_frame(error))
            # Values can be asked for outside of the dispatcher, as `tolist` and `numpy` do.
            if any(sign in str(error) for sign in _SIGNS_OF_NO_VALUES):
                raise TraceError(values_message(path, str(error))) from error
            raise TraceError(_fault_message(path, recorder, error)) from error
        finally:
            _RECORDER.reset(token)
            for m in training:
                m.__dict__["training"] = True
        return recorder.finish(result)


def _check_inputs(module: nn.Module, given: int) -> None:
    """Raise where the forward does not take that many tensors."""
    try:
        signature = inspect.signature(module.forward)
    except ValueError:
        return
    try:
        signature.bind(*range(given))
    except TypeError as error:
        needed = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        raise TraceError(
            f"module '' ({type(module).__name__}) takes {', '.join(needed) or 'no inputs'}; the "
            f"tracer was told {given} shape{'s'[: given != 1]} ({error}). Give one shape for each "
            "input, in the order of its forward, or wrap it in a module that makes the others"
        ) from error


def _fault_message(path: str, recorder: Recorder, error: Exception) -> str:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in recorder.given)
    return (
        f"module '{path}' raised {type(error).__name__} for inputs {shapes}: {error}. Give the "
        "shapes and element types that its forward takes"
    )


def _last_frame(error: BaseException) -> FrameType | None:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1] if frames else None


def _meta_input(
    given: Sequence[int] | torch.Tensor, dtype: torch.dtype, layout: str
) -> torch.Tensor:
    if isinstance(given, torch.Tensor):
        return empty(tuple(given.shape), given.dtype, layout)
    return empty(tuple(given), dtype, layout)
