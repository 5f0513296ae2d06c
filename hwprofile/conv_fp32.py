"""A fp32 convolution of cuDNN launched alone, TF32 off: the algorithm is the hidden variable.

cuDNN picks between an implicit product, Winograd in one or in several kernels, and FFT. Each has
its own tiles, read off the launch grids of the published rows (`benchmarks/latency`), and a time

    t = a · waves · steps + b · waves + bytes in, out and of filters / rates + launch path

whose coefficients are fitted on the rows that ran it. `waves` is the number of thread blocks that
the busiest SM runs one after another. Multiply-adds fall by 4 in Winograd F(4x4, 3x3) and by 2.25
in F(2x2, 3x3) (Lavin and Gray 2016). Times are microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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

    @property
    def plain(self) -> bool:
        """Whether Winograd and FFT may run, as in all published rows."""
        return self.kernel == 3 and self.stride == 1 and self.groups == 1


ALGORITHMS: dict[str, str] = {
    "winograd_split": "sgemm_128x128_nn",
    "winograd_row": "tile148t",
    "winograd_batch": "tile442t",
    "direct": "scudnn_128",
    "fft": "gcgemm",
    "small": "_convolve_sgemm",
}
"""Algorithms, and the part of the main kernel's name that tells each."""

WINOGRAD = ("winograd_split", "winograd_row", "winograd_batch", "fft")
"""Algorithms for `ConvShape.plain` alone."""


def terms(shape: ConvShape, sms: int) -> dict[str, tuple[float, ...]]:
    """What the time of each algorithm is linear in, by algorithm of `ALGORITHMS`.

    Args:
        shape: the convolution.
        sms: streaming multiprocessors.

    Returns:
        Six numbers an algorithm: waves · steps, waves, and elements in, out and of filters in the
        algorithm's own domain, one. Those of `direct` and `small` hold two tile widths instead.
    """
    b, out = shape.batch, shape.out_size
    c_in, c_out = shape.c_in // shape.groups, shape.c_out // shape.groups
    groups = shape.groups
    m = b * out * out
    steps = -(-c_in // 8) * 8
    taps = shape.kernel**2
    moved = groups * (float(b * shape.size**2 * c_in) + float(m * c_out))

    def waves(ctas: int) -> float:
        return float(-(-ctas * groups // sms))

    wide = waves(-(-m // 128) * -(-c_out // 64))
    narrow = waves(-(-m // 128) * -(-c_out // 32))
    slim = waves(-(-m // 32) * -(-c_out // 32))
    found: dict[str, tuple[float, ...]] = {
        "direct": (wide * steps * taps, wide, narrow * steps * taps, narrow, moved, 1.0),
        "small": (
            narrow * c_in * taps,
            slim * c_in * taps,
            moved,
            float(groups * c_in * c_out * taps),
            0.0,
            1.0,
        ),
    }
    if not shape.plain:
        return found
    quarters = -(-out // 4)
    # The transformed images are padded to a batch of 16: so say the grids.
    m4 = -(-b // 16) * 16 * quarters**2
    split = waves(36 * -(-m4 // 128) * -(-c_out // 128))
    row = waves(b * -(-c_out // 32) * -(-out // 8) * -(-out // 16))
    batch = waves(-(-b // 4) * -(-c_out // 32) * -(-out // 8) * quarters)
    tiles = b * (-(-out // 30)) ** 2
    fft = waves(544 * -(-tiles // 64) * -(-c_out // 64))
    weights = float(c_in * c_out)
    found["winograd_split"] = (
        split * steps,
        split,
        18.0 * m4 * c_in,
        18.0 * m4 * c_out,
        weights,
        1,
    )
    found["winograd_row"] = (row * steps, row, m * c_in, m * c_out, weights, 1)
    found["winograd_batch"] = (batch * steps, batch, m * c_in, m * c_out, weights, 1)
    found["fft"] = (fft * c_in, fft, 544.0 * tiles * c_in, 544.0 * tiles * c_out, weights, 1)
    return found


FEATURES: tuple[str, ...] = (
    *("log_batch", "log_size", "log_in", "log_out", "log_time"),
    *(f"log_{name}" for name in ALGORITHMS),
    *("fill_split", "fill_row", "fill_direct", "log_pixels", "pixel_fill", "steps_fill", "batch_4"),
)
"""Names of the features of `conv_us`, in order. Logarithms are to base 2."""


def conv_us(
    shape: ConvShape, sms: int, coefficients: Mapping[str, Sequence[float]]
) -> tuple[float, tuple[float, ...]]:
    """Time of the cheapest algorithm, and the features of a learned correction.

    Args:
        shape: the convolution.
        sms: streaming multiprocessors.
        coefficients: six numbers an algorithm, one for each of its terms.
    """
    parts = terms(shape, sms)
    times = {
        name: sum(a * x for a, x in zip(coefficients[name], parts[name], strict=True))
        for name in parts
    }
    # `small` and `winograd_batch` win in few rows and their fits are loose: features only.
    rivals = [times[name] for name in ("winograd_split", "winograd_row", "direct") if name in times]
    best = min(rivals)
    log = math.log2
    out, m = shape.out_size, shape.batch * shape.out_size**2
    quarters = -(-out // 4)
    fills = [
        _fill(parts, "winograd_split", m / 16 * 36 * shape.c_out / 128 / 128, sms),
        _fill(parts, "winograd_row", m / 128 * shape.c_out / 32, sms),
        _fill(parts, "direct", m / 128 * shape.c_out / 64, sms),
    ]
    features = (
        log(shape.batch),
        log(shape.size),
        log(shape.c_in),
        log(shape.c_out),
        log(best),
        *(log(times.get(name, 1e3 * best) / best) for name in ALGORITHMS),
        *fills,
        log(m),
        out * out / (16.0 * quarters**2),
        shape.c_in / (8.0 * -(-shape.c_in // 8)),
        float(shape.batch % 4),
    )
    return best, features


def _fill(parts: Mapping[str, Sequence[float]], name: str, blocks: float, sms: int) -> float:
    """Share of the waves' slots that useful blocks fill; zero where the algorithm cannot run."""
    return blocks / sms / parts[name][1] if name in parts else 0.0
