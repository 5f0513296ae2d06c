"""Coverage of ranges as SVG: observed against promised, a small panel for each family.

A range that holds what it promises lies on the diagonal (Gneiting, Balabdaoui and Raftery,
"Probabilistic forecasts, calibration and sharpness", 2007); above it ranges are wider than needed,
below it they promise too much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas.report.plot import Place, line, number, row, svg, text

_COLUMNS, _SIDE = 5, 132.0
_LEFT, _TOP, _GAP_X, _GAP_Y, _FOOT = 56.0, 92.0, 34.0, 62.0, 40.0
_LEAST = 0.4
"""Where both axes begin."""
_BAND = 0.02
"""Half of the width of the band about the diagonal."""
_STYLE = (
    "<style>.paper{fill:#fff}text{fill:#1b1f27}.pale{fill:#5b6472}.frame{fill:none;stroke:#c6ccd6}"
    ".band{fill:#e8edf5}.even{stroke:#8b94a3;stroke-dasharray:3 3}.grid{stroke:#eef0f4}"
    ".seen{fill:none;stroke:#2563c9;stroke-width:1.8}.dot{fill:#2563c9}</style>"
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The coverage of one family's ranges."""

    name: str
    """Above its panel."""
    note: str
    """Below its name, such as the number of rows."""
    promised: tuple[float, ...]
    """Coverages asked for, in 0..1, rising."""
    observed: tuple[float, ...]
    """Shares of rows inside the ranges, in the same order."""


def coverage_svg(curves: Sequence[Curve], title: str, source: str) -> str:
    """The picture of some families' coverage.

    Args:
        curves: the families, in order.
        title: above the picture.
        source: which rows were judged, below the title.

    Returns:
        The text of an SVG file; the same for the same curves.
    """
    rows = math.ceil(len(curves) / _COLUMNS)
    width = _LEFT + _COLUMNS * (_SIDE + _GAP_X)
    height = _TOP + rows * (_SIDE + _GAP_Y) + _FOOT - 20
    said = "share of rows inside their range (up) against the share promised (across)"
    body = [
        f'<rect class="paper" width="{number(width)}" height="{number(height)}"/>',
        text(_LEFT, 26, title, size=16, weight=600),
        text(_LEFT, 44, f"{said}; band: within {100 * _BAND:g} points", pale=True),
        text(_LEFT, height - 12, source, size=11, pale=True),
    ]
    for place, curve in enumerate(curves):
        down, across = divmod(place, _COLUMNS)
        corner = (_LEFT + across * (_SIDE + _GAP_X), _TOP + down * (_SIDE + _GAP_Y))
        body += _panel(curve, corner, first=across == 0, last=place + _COLUMNS >= len(curves))
    return svg(width, height, title, _STYLE, body)


def _panel(curve: Curve, corner: Place, *, first: bool, last: bool) -> Iterator[str]:
    left, top = corner

    def at(promised: float, observed: float) -> Place:
        across = (promised - _LEAST) / (1 - _LEAST)
        up = (min(max(observed, _LEAST), 1.0) - _LEAST) / (1 - _LEAST)
        return left + across * _SIDE, top + (1 - up) * _SIDE

    low, high = _LEAST, 1.0
    band = [at(low, low + _BAND), at(high - _BAND, high), at(high, high), at(high, high - _BAND)]
    band += [at(low + _BAND, low), at(low, low)]
    yield text(left, top - 18, curve.name, size=12, weight=600)
    yield text(left, top - 5, curve.note, size=10, pale=True)
    yield f'<polygon class="band" points="{row(band)}"/>'
    for tick in (0.5, 0.7, 0.9):
        yield line("grid", at(tick, low), at(tick, high))
        yield line("grid", at(low, tick), at(high, tick))
        if last:
            yield text(at(tick, low)[0], top + _SIDE + 14, f"{tick:.0%}", size=10, anchor="middle")
        if first:
            yield text(left - 6, at(low, tick)[1] + 4, f"{tick:.0%}", size=10, anchor="end")
    yield line("even", at(low, low), at(high, high))
    places = [at(*pair) for pair in zip(curve.promised, curve.observed, strict=True)]
    yield f'<polyline class="seen" points="{row(places)}"/>'
    for x, y in places:
        yield f'<circle class="dot" cx="{number(x)}" cy="{number(y)}" r="2.6"/>'
    yield (
        f'<rect class="frame" x="{number(left)}" y="{number(top)}" width="{number(_SIDE)}" '
        f'height="{number(_SIDE)}"/>'
    )
