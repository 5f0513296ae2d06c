"""One kernel launched alone in eager mode, timed the way the published fp32 tables were.

Such a time includes the host: nothing is faster than the launch path of its operator, some 26 to
57 microseconds. A network that runs as a CUDA graph does not pay this, so networks are priced by
`Target.price`; this file serves tables of single kernels. Times are microseconds.

    time = max(host, latency + max(bytes / (DRAM bandwidth · efficiency), elements / rate))

Constants are fitted per operator; the boards are those of the rows (`BOARD`), because an A100 with
40 GB has three quarters of the bandwidth of the one with 80 GB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwprofile.constants import constants
from hwprofile.conv_fp32 import ConvShape, conv_us
from hwprofile.cuda_target import CudaTarget
from hwprofile.device import Device, load_device
from hwprofile.estimate import Estimate

BOARD = "a100-pcie-40gb"
"""The board that 97 % of the element-wise, norm and soft-max rows were timed on."""

FASTER_BOARD = 0.78
"""Time on A100 80GB PCIe over that on `BOARD`: 1,555 / 1,935 of the bandwidth, less 3 %."""

READS: dict[str, int] = {"add": 2, "sub": 2, "mul": 2, "div": 2, "pow": 2}
"""Tensors read by the binary operators; all others read one. A `u` at the end, as in `addu`, is an
operator of a tensor and a number."""

TWIN: dict[str, str] = {
    "sub": "add",
    "subu": "addu",
    "silu": "gelu",
    "sigmoid": "tanh",
    "exp": "tanh",
    "sqrt": "relu",
    "leaky_relu": "relu",
    "hardswish": "gelu",
    "rms_norm": "layer_norm",
}
"""Operators without rows, and the one whose constants they borrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneConstants:
    """Constants of one operator; fitted."""

    host_us: float
    """The launch path of the operator on the host."""
    latency_us: float
    """Time from the event before the kernel to the one after, beyond its bytes."""
    efficiency: float
    """Share of the published DRAM bandwidth reached."""
    elements_per_us: float
    """Elements per microsecond where arithmetic binds."""


def stream_us(op: str, rows: int, columns: int, board: Device, constants: AloneConstants) -> float:
    """Time of a fp32 element-wise, norm or soft-max operator on `[rows, columns]`."""
    elements = rows * columns
    moved = 4.0 * elements * (READS.get(op, 1) + 1)
    busy = max(
        moved / (board.dram_gbps * 1e3 * constants.efficiency),
        elements / constants.elements_per_us,
    )
    return max(constants.host_us, constants.latency_us + busy)


STREAM_FEATURES = ("log_rows", "log_columns", "log_time", "columns_mod_4", "log_bandwidth")
"""Names of `stream_features`, in order."""


def stream_features(
    rows: int, columns: int, time_us: float, board: Device
) -> tuple[float, float, float, float, float]:
    """What a learned correction of `stream_us` sees."""
    return (
        math.log2(rows),
        math.log2(columns),
        math.log2(time_us),
        # Rows that are no multiple of 16 bytes lose vector loads.
        float(columns % 4 == 0),
        math.log2(board.dram_gbps),
    )


class AloneModel:
    """Prices fp32 operators launched alone, for a target that such rows were measured on."""

    __slots__ = ("_boards", "_constants", "_conv", "_default", "_target")

    def __init__(self, target: CudaTarget) -> None:
        if not self.serves(target):
            raise ValueError(f"no operators were timed alone on {target.device.name}")
        table = constants()
        alone = dict(table["alone"])
        self._conv = alone.pop("conv2d")
        self._constants = {op: AloneConstants(**values) for op, values in alone.items()}
        self._boards = {
            device.title: device
            for device in map(load_device, ("a100-pcie-40gb", "a100-pcie-80gb"))
        }
        self._default = load_device(BOARD)
        self._target = target

    @staticmethod
    def serves(target: CudaTarget) -> bool:
        """Whether operators were timed alone on this target's device."""
        return any(key.startswith("alone.") for key in target.spreads)

    def knows(self, op: str) -> bool:
        """Whether `op` is an operator of a stream of elements or rows with constants."""
        return TWIN.get(op, op) in self._constants

    def stream(self, op: str, rows: int, columns: int, board: str | None = None) -> Estimate:
        """Time in ms of a fp32 operator on `[rows, columns]`.

        Args:
            op: an operator that `knows` accepts.
            rows: length of the outer dimension.
            columns: length of the inner dimension, along which norms and soft-max run.
            board: title of the board, as CUDA names it; any other is taken as `BOARD`.
        """
        known = TWIN.get(op, op)
        named = self._boards.get(board or "")
        device = named or self._default
        # The twin lends its constants, not its number of operands; those agree in TWIN.
        time = stream_us(known, rows, columns, device, self._constants[known])
        features = stream_features(rows, columns, time, device)
        estimate = self._estimate(f"alone.{known}", time, features, borrowed=known != op)
        if named is None:
            # The range must hold the faster board too, a fifth below.
            low = min(estimate.low, estimate.value * FASTER_BOARD)
            return Estimate(value=estimate.value, low=low, high=estimate.high)
        return estimate

    def conv(self, shape: ConvShape) -> Estimate:
        """Time in ms of a fp32 convolution, TF32 off."""
        time, features = conv_us(shape, self._target.device.sms, self._conv)
        return self._estimate("alone.conv2d", time, features, borrowed=not shape.plain)

    def _estimate(
        self, key: str, time_us: float, features: tuple[float, ...], *, borrowed: bool
    ) -> Estimate:
        trees = self._target.corrections.get(key)
        if trees is not None and not borrowed:
            time_us *= math.exp(trees(np.array([features]))[0])
        low, high = self._target.ends(key, time_us)
        if borrowed:
            # No rows of this operator: as wide as for a device without rows.
            low, high = min(low, 0.62), max(high, 1.6)
        time = time_us * 1e-3
        return Estimate(value=time, low=time * low, high=time * high)
