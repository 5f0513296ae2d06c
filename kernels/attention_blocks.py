"""Block sizes of the attention kernels, and the constants that they are compiled with."""

from __future__ import annotations

from dataclasses import dataclass

Constants = dict[str, int | bool | str | None]
"""Compile-time arguments of a kernel by name."""

MOST_FEATURES = 128
"""Largest size of a head that the kernels serve."""

BIAS_SPLITS = 64
"""Most parts that the batch is summed in for the gradient of a bias. A constant, so that sums are
the same on every GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What one program covers; every number is a power of two."""

    queries: int
    """Queries at a time."""
    keys: int
    """Keys at a time."""
    warps: int
    """Warps of 32 threads."""
    stages: int
    """Stages that the loop is pipelined in."""


# (operation, earliest compute capability, precision, most features, whether a bias is added (None:
# either), most queries and keys) -> queries, keys, warps, stages. A bias costs registers, as each
# of its values has an address. Up to 64 queries, as in a window, take one block. Chosen
# from code compiled for sm_80 and sm_90, not by timing: the largest blocks without spills.
_TABLE: dict[tuple[str, tuple[int, int], str, int, bool | None, int], tuple[int, int, int, int]] = {
    ("forward", (0, 0), "half", 64, None, 64): (64, 32, 4, 2),
    ("forward", (0, 0), "half", 64, False, 2**31): (128, 64, 4, 3),
    ("forward", (0, 0), "half", 64, True, 2**31): (128, 32, 8, 2),
    ("forward", (0, 0), "half", 128, False, 2**31): (64, 64, 8, 2),
    # With 64 keys sm_90 spills under Triton 3.6.
    ("forward", (0, 0), "half", 128, True, 2**31): (64, 32, 8, 2),
    ("queries", (0, 0), "half", 64, False, 2**31): (64, 64, 4, 2),
    ("queries", (0, 0), "half", 64, True, 2**31): (64, 32, 4, 2),
    ("queries", (0, 0), "half", 128, None, 2**31): (64, 64, 8, 2),
    # Without a bias 64 queries spill on sm_80 under Triton 3.6 only.
    ("keys", (0, 0), "half", 64, None, 2**31): (32, 64, 4, 2),
    ("keys", (0, 0), "half", 128, None, 2**31): (64, 64, 8, 2),
    ("bias", (0, 0), "half", 128, None, 2**31): (64, 32, 4, 2),
    # float32 products run on the general cores, where blocks are small.
    ("forward", (0, 0), "float", 128, None, 2**31): (32, 32, 8, 2),
    ("queries", (0, 0), "float", 128, None, 2**31): (32, 32, 8, 2),
    ("keys", (0, 0), "float", 128, None, 2**31): (16, 16, 8, 1),
    ("bias", (0, 0), "float", 128, None, 2**31): (32, 32, 8, 1),
}


def blocks_for(
    operation: str,
    capability: tuple[int, int],
    *,
    half: bool,
    features: int,
    biased: bool,
    longest: int,
) -> Blocks:
    """Look up the block sizes of an operation.

    Args:
        operation: `forward`, or the gradient of `queries`, `keys` (and values) or `bias`.
        capability: Compute capability, such as (8, 0). The latest one in the table that is not
            later counts; (0, 0) stands for any, the interpreter included.
        half: Whether the dtype is float16 or bfloat16; else it is float32.
        features: Size of a head, at most `MOST_FEATURES`.
        biased: Whether a bias is added.
        longest: The larger of the numbers of queries and keys.
    """
    fitting = [
        key
        for key in _TABLE
        if (key[0], key[2]) == (operation, "half" if half else "float")
        and key[4] in (biased, None)
        and key[1] <= capability
        and features <= key[3]
        and longest <= key[5]
    ]
    latest = max(key[1] for key in fitting)
    queries, keys, warps, stages = _TABLE[
        min((key for key in fitting if key[1] == latest), key=lambda key: (key[3], key[5]))
    ]
    return Blocks(queries=queries, keys=keys, warps=warps, stages=stages)


def attention_constants(
    *, features: int, causal: bool, has_bias: bool, upcast: bool, blocks: Blocks
) -> Constants:
    """Return what every kernel takes."""
    return {
        "FEATURES": features,
        "CAUSAL": causal,
        "HAS_BIAS": has_bias,
        "UPCAST": upcast,
        # A matrix product takes at least 16 on every side.
        "WIDTH": max(16, 1 << (features - 1).bit_length()),
        "QUERIES": blocks.queries,
        "KEYS": blocks.keys,
    }
