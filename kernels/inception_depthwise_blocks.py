"""Block sizes of the Inception depthwise kernel, and the constants it is compiled with."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.depthwise_conv_blocks import FEW_PROGRAMS, Blocks, Constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How the kernel is started for a map."""

    blocks: Blocks
    """What one program covers."""
    programs: int
    """Programs for the batch."""
    constants: Constants
    """Compile-time arguments."""


# (layout, map class) -> Blocks; "few": fewer programs than `FEW_PROGRAMS` would start otherwise.
# Branches have few channels (an eighth of them in the paper), so blocks are narrow in channels.
# Chosen from code compiled for sm_80 and sm_90, not by timing.
_TABLE: dict[tuple[str, str], Blocks] = {
    ("last", "narrow"): Blocks(rows=8, columns=8, channels=16, warps=4, unroll=4),
    ("last", "wide"): Blocks(rows=4, columns=16, channels=16, warps=4, unroll=2),
    ("last", "few"): Blocks(rows=4, columns=4, channels=16, warps=2, unroll=4),
    ("first", "narrow"): Blocks(rows=16, columns=16, channels=4, warps=4, unroll=2),
    ("first", "wide"): Blocks(rows=8, columns=32, channels=4, warps=4, unroll=2),
    ("first", "few"): Blocks(rows=8, columns=16, channels=1, warps=1, unroll=4),
}


def launch_for(
    shape: tuple[int, int, int, int],
    group: int,
    taps: tuple[int, int],
    *,
    channels_last: bool,
    few: int = FEW_PROGRAMS,
) -> Launch:
    """Choose the blocks.

    Args:
        shape: Of the input, `[B, C, H, W]`.
        group: Channels of a branch.
        taps: Size of the square kernel and length of the bands.
        channels_last: Layout of input and output.
        few: Programs below which small blocks are taken.
    """
    layout = "last" if channels_last else "first"
    blocks = _TABLE[(layout, "narrow" if shape[3] <= 14 else "wide")]
    if _programs(blocks, shape, group) < few:
        blocks = _TABLE[(layout, "few")]
    constants: Constants = {
        "SQUARE": taps[0],
        "BAND": taps[1],
        "CHANNELS_LAST": channels_last,
        "ROWS": blocks.rows,
        "COLUMNS": blocks.columns,
        "CHANNELS": blocks.channels,
        "UNROLL": blocks.unroll,
    }
    return Launch(blocks=blocks, programs=_programs(blocks, shape, group), constants=constants)


def _programs(blocks: Blocks, shape: tuple[int, int, int, int], group: int) -> int:
    batch, channels, height, width = shape
    tiles = -(-height // blocks.rows) * -(-width // blocks.columns)
    same = -(-(channels - 3 * group) // blocks.channels)
    return batch * tiles * (same + 3 * -(-group // blocks.channels))
