"""DeepMAD structures: the published ones with their figures, and drawn ones."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from predictors.structure import PLAIN, SUPER_BLOCKS, Part, Structure, read_structure

_FIGURES = json.loads((Path(__file__).parent / "data" / "deepmad.json").read_text("utf-8"))
PUBLISHED: dict[str, dict[str, Any]] = _FIGURES["published"]
QUANTIZED: dict[str, dict[str, Any]] = _FIGURES["quantized"]


@cache
def published(name: str) -> Structure:
    return read_structure((PUBLISHED | QUANTIZED)[name]["structure"])


@st.composite
def structures(draw, kinds=SUPER_BLOCKS, *, bits=None, template=None) -> Structure:
    """Structures of a stem, up to four super-blocks and perhaps a last convolution.

    Args:
        kinds: classes of super-blocks.
        bits: whether they have bits; None for either.
        template: a structure whose classes and strides they have.
    """
    width = st.integers(1, 6).map(lambda n: 8 * n)
    if template is None:
        blocks = [(draw(st.sampled_from(kinds)), draw(st.integers(1, 2)))]
        blocks *= draw(st.integers(1, 4))
        rows = [(PLAIN, 2), *blocks, *[(PLAIN, 1)] * draw(st.integers(0, 1))]
    else:
        rows = [(part.kind, part.s) for part in template.parts]
    bits = draw(st.booleans()) if bits is None else bits
    parts, ins = [], 3
    for kind, stride in rows:
        inner = {}
        if kind != PLAIN:
            inner = {"btn": draw(width), "depth": draw(st.integers(1, 4))}
        pairs = None
        if bits:
            pair = st.tuples(st.integers(2, 8), st.integers(2, 8))
            pairs = tuple(draw(pair) for _ in range(3 * inner["depth"] if inner else 1))
        out = draw(st.one_of(width, st.just(ins)))
        k = draw(st.sampled_from([1, 3, 5]))
        parts.append(Part(kind=kind, ins=ins, out=out, k=k, s=stride, bits=pairs, **inner))
        ins = out
    return Structure(tuple(parts))
