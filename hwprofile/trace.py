"""From any `nn.Module` to the operations it runs, on meta tensors: nothing is computed.

Costs are traced, never hand-written: a dispatch mode sees every operation that the module's forward
makes, in inference mode, where composite operations such as `linear` arrive whole. Parameters stand
in as meta tensors, one by one as they are read, so the caller's module is neither copied nor moved.

Images are channels-last in memory, as in the runtime whose kernels `hwprofile.fuse` predicts: there
a permute around a layer norm is free, and a reshape is a copy only where that layout makes it one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from traceback import walk_tb
from types import FrameType

import torch
from torch import nn

from hwprofile.dispatch import Recorder, TraceError, values_message
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
    module: nn.Module, *inputs: Sequence[int] | torch.Tensor, dtype: torch.dtype | None = None
) -> Record:
    """Record the operations of a module's forward at inference.

    The module keeps its parameters, device and training flags; flags of modules in training are
    set to evaluation while the forward runs, so no other thread should run the module meanwhile.

    Args:
        module: Any module whose control flow does not depend on the values of its inputs.
        *inputs: For each input its shape with the batch, or a tensor whose shape and type to take.
        dtype: Element type of the inputs given as shapes; by default the first parameter's.

    Returns:
        The record; its outputs in the order in which tuples, lists and mappings are walked.

    Raises:
        TraceError: Where the module asks for values, writes into a buffer of its own, or fails.
    """
    recorder = Recorder(module)
    training = [m for m in recorder.modules if m.training]
    if dtype is None:
        floating = (p.dtype for p in recorder.parameters() if p.dtype.is_floating_point)
        dtype = next(floating, torch.float32)
    with torch.inference_mode():
        given = [_meta_input(shape, dtype) for shape in inputs]
        recorder.start(given)
        token = _RECORDER.set(recorder)
        # Past `Module.__setattr__`, which would take longer than the forward itself.
        for m in training:
            m.__dict__["training"] = False
        try:
            with recorder:
                result = module(*given)
        except (RuntimeError, TypeError) as error:
            # Values can be asked for outside of the dispatcher, as `tolist` and `numpy` do.
            if not any(sign in str(error) for sign in _SIGNS_OF_NO_VALUES):
                raise
            path = recorder.path_of(_last_frame(error))
            raise TraceError(values_message(path, str(error))) from error
        finally:
            _RECORDER.reset(token)
            for m in training:
                m.__dict__["training"] = True
        return recorder.finish(result)


def _last_frame(error: BaseException) -> FrameType | None:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1] if frames else None


def _meta_input(given: Sequence[int] | torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(given, torch.Tensor):
        return empty(tuple(given.shape), given.dtype)
    return empty(tuple(given), dtype)
