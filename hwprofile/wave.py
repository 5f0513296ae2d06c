"""The analytical estimate: what one kernel costs on a device, from figures and few constants.

Products and convolutions go through the tile-and-wave model of `gemm.py`. All others stream:

    time = floor + ramp + max(bytes / (DRAM bandwidth · efficiency), flops / (fp32 peak · share))

but attention in one kernel, whose products run on tensor cores and whose soft-max does not:

    busy = max(bytes as above, products / (peak · share) + soft-max / (fp32 peak · share))

The runtime is a CUDA graph, the layout channels-last: no host time, one launch after another.
Times here are microseconds; `CudaTarget` turns them into milliseconds with a range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hwprofile.gemm import (
    SIMT_TILES,
    TILES,
    Array,
    GemmConstants,
    GemmLimits,
    GemmPlans,
    extra_us,
    plan_gemms,
)
from hwprofile.gemm_features import gemm_features
from hwprofile.kernel import SOFTMAX_FLOPS

if TYPE_CHECKING:
    from hwprofile.device import Device
    from hwprofile.kernel import Kernel

L2_BYTES_PER_SM_CLOCK = 64
"""Nominal L2 read rate: the 64 bytes that one SM can take in per clock. On A100 that makes
9.7 TB/s; the share reached in the end is the fitted `l2_efficiency`. Not in every datasheet, hence
taken as equal for all devices."""

ATTENTION_TILE = 64
"""Rows and columns of the squares in which attention's weights are made: parts count as whole."""

_AT_ONCE = 4096
"""Products planned at once: bounds the memory of a call."""
_BYTES: dict[str, tuple[float, float, float]] = {
    # input activation, weight, output; 8-bit products write 16 bits, as the measured ones do
    "fp32": (4.0, 4.0, 4.0),
    "tf32": (4.0, 4.0, 4.0),
    "fp16": (2.0, 2.0, 2.0),
    "bf16": (2.0, 2.0, 2.0),
    "w8a8": (1.0, 1.0, 2.0),
    "w8": (2.0, 1.0, 2.0),
    "w4": (2.0, 0.5, 2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConstants:
    """Constants of the kernels that stream bytes."""

    ramp_us: float
    """First loads' latency and the tail of the last wave."""
    dram_efficiency: float
    """Share of the published bandwidth that element-wise kernels reach."""
    row_efficiency: float
    """The same for norms, soft-max and reductions along a row."""
    fp32_share: float
    """Share of the fp32 peak that element-wise arithmetic reaches."""
    depthwise_share: float
    """Share of instructions that are multiply-adds in a channels-last depthwise kernel."""
    depthwise_efficiency: float
    """Share of the published bandwidth that depthwise convolutions reach where bytes bind them."""
    attention_share: float
    """Share of the peak that the two products of attention reach, the soft-max apart."""
    wide_share: float
    """Share of the tensor-core rate that convolutions with groups or taps reach beside a product
    of the same size: their loads compute addresses for each tap."""


class Priced(NamedTuple):
    """The analytical time of a kernel and what a correction may look at."""

    time_us: float
    """Predicted time."""
    key: str
    """Which range applies: family and, for products, scheme."""
    correction: str = ""
    """Which correction applies; empty where none does."""
    features: Array | None = None
    """Inputs of that correction `[features]`; None where there is none."""


class WaveModel:
    """Prices kernels on one device from its figures and the constants."""

    __slots__ = ("_device", "_dram", "_fp32", "_gemm", "_limits", "_schemes", "_stream")

    def __init__(
        self,
        device: Device,
        gemm: GemmConstants,
        stream: StreamConstants,
        schemes: Mapping[str, GemmConstants] | None = None,
    ) -> None:
        """Joins figures and constants.

        Args:
            device: the published figures.
            gemm: constants of products.
            stream: constants of all other kernels.
            schemes: constants of products in schemes whose kernels are others: by scheme.
        """
        self._device = device
        self._gemm = gemm
        self._schemes = {scheme: (schemes or {}).get(scheme, gemm) for scheme in _BYTES}
        self._stream = stream
        self._dram = device.dram_gbps * 1e3
        self._fp32 = device.peak_tflops["fp32"] * 1e6
        self._limits = {
            scheme: limits(device, scheme)
            for scheme in _BYTES
            if scheme != "tf32" or "tf32" in device.peak_tflops
        }

    @property
    def floor_us(self) -> float:
        """Time of a launch that does nothing."""
        return self._gemm.floor_cycles / self._device.boost_mhz

    @property
    def row_efficiency(self) -> float:
        """Share of the bandwidth that kernels along rows reach."""
        return self._stream.row_efficiency

    def price(self, kernel: Kernel) -> Priced:
        """The analytical time of `kernel`, without correction and range; as `price_all`."""
        return self.price_all((kernel,))[0]

    def price_all(self, kernels: Sequence[Kernel]) -> list[Priced]:
        """The analytical times of kernels, those of products and convolutions at once.

        Raises:
            ValueError: a scheme is TF32 and the device does not multiply in it.
        """
        products: dict[str, list[int]] = {}
        found: dict[int, Priced] = {}
        for place, kernel in enumerate(kernels):
            if kernel.scheme not in self._limits:
                raise ValueError(f"{self._device.name} has no rate for {kernel.scheme}: use fp32")
            if kernel.op in ("gemm", "conv2d"):
                products.setdefault(kernel.scheme, []).append(place)
            elif kernel.op == "other" and kernel.k > 1:
                found[place] = self._attention(kernel)
            else:
                found[place] = self._streaming(kernel)
        for scheme, every in products.items():
            for start in range(0, len(every), _AT_ONCE):
                places = every[start : start + _AT_ONCE]
                priced = self._products([kernels[place] for place in places], scheme)
                found.update(zip(places, priced, strict=True))
        return [found[place] for place in range(len(kernels))]

    def _streaming(self, kernel: Kernel) -> Priced:
        stream, op = self._stream, kernel.op
        moved = kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes
        share = stream.fp32_share
        efficiency = stream.dram_efficiency
        if op == "depthwise_conv2d":
            # Converts and addresses fill the issue slots, so bytes and FLOPs alone are optimistic.
            share, efficiency = stream.depthwise_share, stream.depthwise_efficiency
        elif op in ("layer_norm", "softmax", "reduce"):
            efficiency = stream.row_efficiency
        busy = max(moved / (self._dram * efficiency), kernel.flops / (self._fp32 * share))
        return Priced(self.floor_us + stream.ramp_us + busy, op)

    def _attention(self, kernel: Kernel) -> Priced:
        """`groups` times `[m, n]` queries over `k` keys, the square of weights never in DRAM."""
        stream, tile = self._stream, ATTENTION_TILE
        rows, keys = -(-kernel.m // tile) * tile, -(-kernel.k // tile) * tile
        pairs = kernel.groups * kernel.m * kernel.k
        padded = rows * keys / (kernel.m * kernel.k)
        softmax = min(pairs * SOFTMAX_FLOPS, kernel.flops)
        macs = (kernel.flops - softmax) / 2.0
        rate = self._limits[kernel.scheme].macs_per_us * stream.attention_share
        busy = padded * (macs / rate + softmax / (self._fp32 * stream.fp32_share))
        moved = kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes
        busy = max(busy, moved / (self._dram * stream.dram_efficiency))
        return Priced(self.floor_us + stream.ramp_us + busy, "attention")

    def plan(self, m: int, n: int, k: int, scheme: str) -> GemmPlans:
        """The tile-and-wave plan of one product in `scheme`."""
        one = np.ones(1)
        return self._plan(m * one, n * one, k * one, one, scheme, np.zeros(1))

    def _plan(
        self, m: Array, n: Array, k: Array, groups: Array, scheme: str, extra: Array
    ) -> GemmPlans:
        lim = self._limits[scheme]
        menu = TILES if lim.tensor_cores else SIMT_TILES
        return plan_gemms(m, n, k, groups, lim, self._schemes[scheme], extra, menu)

    def _products(self, kernels: Sequence[Kernel], scheme: str) -> Iterator[Priced]:
        """Products and convolutions of one scheme.

        A 1x1 convolution in channels-last is a product of the same three numbers. A wider one is an
        implicit product whose main loop is slower and whose input is smaller than `m · k`.
        """
        lim = self._limits[scheme]
        m, n, k, groups, moved = np.array(
            [
                (x.m, x.n, x.k, x.groups, x.read_bytes + x.weight_bytes + x.write_bytes)
                for x in kernels
            ],
            dtype=float,
        ).T
        implicit = [x.op == "conv2d" and (x.taps > 1 or x.groups > 1) for x in kernels]
        wide = np.array(implicit)
        plain = groups * (m * k * lim.act_bytes + k * n * lim.weight_bytes + m * n * lim.out_bytes)
        # Bytes beyond those of the plain product; negative where a convolution repeats its input.
        fused = np.where(moved > 0, moved - plain, 0.0)
        plans = self._plan(m, n, k, groups, scheme, np.where(wide, fused, 0.0))
        # Products are planned without fused bytes, so that the correction sees what it was fitted
        # on and more bytes are never cheaper.
        slower = plans.compute_us * max(1.0 / self._stream.wide_share - 1.0, 0.0)
        epilogue = extra_us(plans, fused / plain, self._schemes[scheme].overlap)
        times = plans.time_us + np.where(wide, slower, epilogue)
        features = gemm_features(m, n, k, plans, lim)
        name = "gemm." + ("bf16" if scheme == "fp16" else scheme)
        for place, kernel in enumerate(kernels):
            key = "conv2d" if kernel.op == "conv2d" else name if kernel.groups == 1 else "bmm"
            if implicit[place] or kernel.groups > 1:
                yield Priced(float(times[place]), key)
            else:
                yield Priced(float(times[place]), key, name, features[place])


def limits(device: Device, scheme: str) -> GemmLimits:
    """The rates of `scheme` on `device`."""
    act, weight, out = _BYTES[scheme]
    peak = device.peak_tflops
    # Weight-only schemes multiply in 16 bits; which of the two does not matter where both exist.
    rate = {"w8a8": "int8", "w8": "fp16", "w4": "fp16"}.get(scheme, scheme)
    return GemmLimits(
        sms=device.sms,
        macs_per_us=peak[rate] * 1e6 / 2.0,
        cycles_per_us=device.boost_mhz,
        l2_bytes=device.l2_mib * 2**20,
        l2_bytes_per_us=device.sms * L2_BYTES_PER_SM_CLOCK * float(device.boost_mhz),
        dram_bytes_per_us=device.dram_gbps * 1e3,
        act_bytes=act,
        weight_bytes=weight,
        out_bytes=out,
        tensor_cores=peak[rate] > peak["fp32"] * 1.5,
    )
