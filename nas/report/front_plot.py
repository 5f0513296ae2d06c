"""The solver's front as SVG: score, and the proven bound above it, against the limit.

Between two limits nothing was solved, but much is known: a design keeps every limit from what it
takes on, and what no design exceeds under a limit, none exceeds under a tighter one. So scores and
bounds are drawn as steps, and the best score under any limit lies between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from nas.report.certificate import NAMES, amount
from nas.report.plot import Place, line, nice, number, row, svg, text

_WIDTH, _HEIGHT = 680.0, 440.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84.0, 24.0, 58.0, 66.0
_TICK = 5.0
_STYLE = (
    "<style>.paper{fill:#fff}text{fill:#1b1f27}.pale{fill:#5b6472}.grid{stroke:#e3e6eb}"
    ".axis{stroke:#6c7684}.band{fill:#dbe8fb}.bound{stroke:#7d8796;stroke-dasharray:5 3}"
    ".score{stroke:#2563c9;stroke-width:2}.dot{fill:#2563c9}.top{stroke:#4b5563;stroke-width:1.4}"
    ".line{fill:none}</style>"
)


def front_svg(front: Mapping[str, Any], title: str) -> str:
    """The picture of a front, or of as much of it as has designs.

    Args:
        front: as it stands in a run's result.
        title: above the picture.

    Returns:
        The text of an SVG file; the same for the same front.
    """
    points = [point for point in front["points"] if point["score"] is not None]
    said = "score (nats) of the best design found, and the bound that no design exceeds"
    body = [
        f'<rect class="paper" width="{number(_WIDTH)}" height="{number(_HEIGHT)}"/>',
        text(_LEFT, 26, title, size=16, weight=600),
        text(_LEFT, 44, said, size=12, pale=True),
        *(_drawn(front["name"], points) if points else _nothing()),
    ]
    return svg(_WIDTH, _HEIGHT, title, _STYLE, body)


def _nothing() -> Iterator[str]:
    yield text(_WIDTH / 2, _HEIGHT / 2, "no design was found under any limit", anchor="middle")


def _drawn(name: str, points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    axes = _Axes(
        [point["limit"] for point in points],
        [point[key] for point in points for key in ("score", "bound")],
    )
    yield from axes.drawn(name)
    scores = [axes.place(point["limit"], point["score"]) for point in points]
    bounds = [axes.place(point["limit"], point["bound"]) for point in points]
    low = [scores[0]]
    for before, point, (x, y) in zip(points, points[1:], scores[1:], strict=False):
        rise = axes.place(max(before["limit"], point["used"]), point["score"])[0]
        low += [(rise, low[-1][1]), (rise, y), (x, y)]
    high = [bounds[0], *(p for a, b in pairwise(bounds) for p in ((a[0], b[1]), b))]
    yield f'<polygon class="band" points="{row([*low, *reversed(high)])}"/>'
    yield f'<polyline class="line bound" points="{row(high)}"/>'
    yield f'<polyline class="line score" points="{row(low)}"/>'
    for (x, y), (_, top) in zip(scores, bounds, strict=True):
        yield line("top", (x - _TICK, top), (x + _TICK, top))
        yield f'<circle class="dot" cx="{number(x)}" cy="{number(y)}" r="3.6"/>'
    yield from _legend()


def _legend() -> Iterator[str]:
    x, y = _LEFT + 16, _TOP + 20
    yield line("score", (x, y), (x + 26, y))
    yield f'<circle class="dot" cx="{number(x + 13)}" cy="{number(y)}" r="3.6"/>'
    yield text(x + 34, y + 4, "design found")
    y += 20
    yield line("bound", (x, y), (x + 26, y))
    yield line("top", (x + 13 - _TICK, y), (x + 13 + _TICK, y))
    yield text(x + 34, y + 4, "proven bound")
    y += 20
    yield f'<rect class="band" x="{number(x)}" y="{number(y - 6)}" width="26" height="12"/>'
    yield text(x + 34, y + 4, "where the best score lies")


class _Axes:
    """Limits in logarithm from left to right, scores from below to above."""

    def __init__(self, limits: Sequence[float], scores: Sequence[float]) -> None:
        self.limits = limits
        self._x = math.log(limits[0]), math.log(limits[-1])
        step = nice((max(scores) - min(scores)) / 5 or max(1.0, abs(scores[0]) / 5))
        self._step = step
        self._y = math.floor(min(scores) / step) * step, math.ceil(max(scores) / step) * step

    def place(self, limit: float, score: float) -> Place:
        """Where a limit and a score are."""
        low, high = self._x
        wide, tall = _WIDTH - _LEFT - _RIGHT - 20, _HEIGHT - _TOP - _BOTTOM
        across = (math.log(limit) - low) / (high - low) if high > low else 0.5
        below, above = self._y
        up = (score - below) / (above - below) if above > below else 0.5
        return _LEFT + 10 + across * wide, _HEIGHT - _BOTTOM - up * tall

    def drawn(self, name: str) -> Iterator[str]:
        """Lines, ticks and what they mean."""
        below, above = self._y
        ground, left, right = _HEIGHT - _BOTTOM, _LEFT, _WIDTH - _RIGHT
        score = below
        while score <= above + self._step / 2:
            y = self.place(self.limits[0], score)[1]
            yield line("grid", (left, y), (right, y))
            yield text(left - 8, y + 4, f"{score:,.10g}", anchor="end")
            score += self._step
        yield line("axis", (left, ground), (right, ground))
        end = -math.inf
        for limit in self.limits:
            x = self.place(limit, below)[0]
            yield line("axis", (x, ground), (x, ground + _TICK))
            said = amount(name, limit).removesuffix(" ms")
            if x - 3.6 * len(said) > end:  # labels do not overlap
                yield text(x, ground + 20, said, anchor="middle")
                end = x + 3.6 * len(said) + 4
        unit = " (ms, upper end of its range)" if name == "high_ms" else ""
        yield text(
            (left + right) / 2, ground + 46, f"limit on {NAMES[name]}{unit}", anchor="middle"
        )
        middle = (_TOP + ground) / 2
        yield (
            f'<text transform="translate(20,{number(middle)}) rotate(-90)" text-anchor="middle" '
            'font-size="12">score (nats)</text>'
        )
