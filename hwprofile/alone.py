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

from hwprofile.device import Device, Target, constants, load_device
from hwprofile.estimate import Estimate
from hwprofile.gemm import SIMT_TILES, GemmConstants, GemmLimits, plan_gemm
from hwprofile.wave import limits

BOARD = "a100-pcie-40gb"
"""The board that 97 % of the element-wise, norm and soft-max rows were timed on."""

CONV_BOARD = "a100-pcie-80gb"
"""The board that the fp32 convolutions were timed on."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvShape:
    """A square convolution with square images."""

    batch: int
    """Images."""
    size: int
    """Height and width of the input."""
    c_in: int
    """Input channels."""
    c_out: int
    """Output channels."""
    kernel: int
    """Height and width of the filter."""
    stride: int
    """Stride in both directions."""
    padding: int
    """Padding on all four sides."""
    groups: int = 1
    """Channel groups."""

    @property
    def out_size(self) -> int:
        """Height and width of the output; at most zero where the filter does not fit."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


CONV_FEATURES = (
    *("log_batch", "log_size", "log_in", "log_out", "log_direct", "log_fused", "log_split"),
    *("log_fft", "log_best", "fill_2", "fill_4", "log_pixels", "out_fill", "direct_split"),
)
"""Names of the features of `conv_us`, in order."""


def conv_us(
    shape: ConvShape, board: Device, gemm: GemmConstants, host_us: float
) -> tuple[float, tuple[float, ...]]:
    """Time of a fp32 convolution, the best of four algorithms, and features of a correction.

    The algorithm is the hidden variable of these rows: direct (an implicit product), Winograd
    F(2x2, 3x3) in one kernel, Winograd F(4x4, 3x3) in four, and FFT. Multiply-adds fall by 2.25
    and 4 in the two Winograd forms (Lavin and Gray 2016), and transforms move bytes.
    """
    lim, bandwidth = _conv_limits(board, gemm)
    b, c_in, c_out, out = shape.batch, shape.c_in, shape.c_out, shape.out_size
    m, taps = b * out * out, shape.kernel**2
    images = 4.0 * b * (c_in * shape.size**2 + c_out * out * out)
    n, k = c_out // shape.groups, c_in // shape.groups
    repeated = -4.0 * shape.groups * m * k * (taps - 1)
    plan = plan_gemm(m, n, k * taps, shape.groups, lim, gemm, repeated, SIMT_TILES)
    direct = plan.time_us
    fused = split = fft = math.inf
    halves, quarters = -(-out // 2), -(-out // 4)
    if shape.kernel == 3 and shape.stride == 1 and shape.groups == 1:
        m2, m4 = b * halves**2, b * quarters**2
        inside = -4.0 * 16 * m2 * (c_in + c_out) + images
        fused = plan_gemm(m2, n, k, 16, lim, gemm, inside, SIMT_TILES).time_us
        work = plan_gemm(m4, n, k, 36, lim, gemm, 0.0, SIMT_TILES).time_us
        moved = images + 4.0 * 36 * (m4 * (c_in + c_out) + c_in * c_out)
        split = work + moved / bandwidth + 3.0 * (gemm.floor_us + gemm.ramp_us)
        # FFT in tiles of 32x32: 544 complex products of four multiply-adds each.
        tiles = b * (-(-out // 30)) ** 2
        work = plan_gemm(tiles, n, 4 * k, 544, lim, gemm, 0.0, SIMT_TILES).time_us
        moved = images + 8.0 * 544 * (tiles * (c_in + c_out) + 2.0 * c_in * c_out)
        fft = work + moved / bandwidth + 3.0 * (gemm.floor_us + gemm.ramp_us)
    best = max(host_us, 10.0 + min(direct, fused, split, fft))
    log = math.log2
    features = (
        log(b),
        log(shape.size),
        log(c_in),
        log(c_out),
        log(direct),
        log(min(fused, 1e9) / direct),
        log(min(split, 1e9) / direct),
        log(min(fft, 1e9) / direct),
        log(best),
        out * out / (2.0 * halves) ** 2,
        out * out / (4.0 * quarters) ** 2,
        log(m),
        c_out / (128.0 * -(-c_out // 128)),
        float(plan.split),
    )
    return best, features


def _conv_limits(board: Device, gemm: GemmConstants) -> tuple[GemmLimits, float]:
    """fp32 rates of the board, and its reachable bandwidth in bytes per microsecond."""
    return limits(board, "fp32"), board.dram_gbps * 1e3 * gemm.dram_efficiency


class AloneModel:
    """Prices fp32 operators launched alone, for a target that such rows were measured on."""

    __slots__ = ("_boards", "_constants", "_gemm", "_host_us", "_target")

    def __init__(self, target: Target) -> None:
        if not self.serves(target):
            raise ValueError(f"no operators were timed alone on {target.device.name}")
        table = constants()
        alone = dict(table["alone"])
        self._host_us = float(alone.pop("conv2d")["host_us"])
        self._constants = {op: AloneConstants(**values) for op, values in alone.items()}
        self._gemm = GemmConstants(**table["gemm"])
        self._boards = {
            device.title: device
            for device in map(load_device, ("a100-pcie-40gb", "a100-pcie-80gb"))
        }
        self._target = target

    @staticmethod
    def serves(target: Target) -> bool:
        """Whether operators were timed alone on this target's device."""
        return any(key.startswith("alone.") for key in target.ranges)

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
        device = self._boards.get(board or "") or load_device(BOARD)
        # The twin lends its constants, not its number of operands; those agree in TWIN.
        time = stream_us(known, rows, columns, device, self._constants[known])
        features = stream_features(rows, columns, time, device)
        return self._estimate(f"alone.{known}", time, features, borrowed=known != op)

    def conv(self, shape: ConvShape) -> Estimate:
        """Time in ms of a fp32 convolution, TF32 off."""
        time, features = conv_us(shape, load_device(CONV_BOARD), self._gemm, self._host_us)
        seen = shape.kernel == 3 and shape.stride == 1 and shape.groups == 1
        return self._estimate("alone.conv2d", time, features, borrowed=not seen)

    def _estimate(
        self, key: str, time_us: float, features: tuple[float, ...], *, borrowed: bool
    ) -> Estimate:
        trees = self._target.corrections.get(key)
        if trees is not None and not borrowed:
            time_us *= math.exp(trees(features))
        low, high = self._target.ranges[key]
        if borrowed:
            # No rows of this operator: as wide as for a device without rows.
            low, high = min(low, 0.62), max(high, 1.6)
        time = time_us * 1e-3
        return Estimate(value=time, low=time * low, high=time * high)
