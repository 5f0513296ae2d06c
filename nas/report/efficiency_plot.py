"""The efficiency gap as SVG: achieved over attainable, against arithmetic intensity.

After the efficiency-gap plots of "On the Efficiency of Convolutional Neural Networks" (Lavin, arXiv
2404.03617), for single operations: the line at 100 % is what memory and arithmetic allow, and how
far a mark lies below it is what a version leaves on the table. Both axes are logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from hwprofile.bench import Result
from nas.report.plot import Place, line, number, row, svg, text

_WIDTH, _HEIGHT = 860.0, 560.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 72.0, 96.0, 176.0, 76.0
_SPACE = 15.0
"""Least distance of two names above the plot."""
_CLOSE = 6.0
"""Marks of one operation that are nearer than about this have one name."""
_STYLE = (
    "<style>.paper{fill:#fff}text{fill:#1b1f27}.pale{fill:#5b6472}.grid{stroke:#e3e6eb}"
    ".axis{stroke:#6c7684}.gap{stroke:#c6ccd6}.lead{stroke:#c6ccd6;fill:none}"
    ".attainable{stroke:#1b1f27;stroke-width:1.4}"
    ".triton{fill:#2563c9}.eager{fill:#c2620a}.compile{fill:#5b8c2a}.int_mm{fill:#8a3fa0}</style>"
)
_PROVIDERS = {
    "triton": "this project's kernels",
    "eager": "torch, eager",
    "compile": "torch.compile",
    "int_mm": "torch._int_mm",
}


def efficiency_svg(results: Sequence[Result], title: str, source: str) -> str:
    """The picture of a benchmark; results with a fault are left out.

    Args:
        results: of one device.
        title: above the picture.
        source: where the limits are from.

    Returns:
        The text of an SVG file; the same for the same results.
    """
    sound = [result for result in results if result.efficiency is not None]
    said = "share of what the device's memory and arithmetic allow, by operations for each byte"
    paper = f'<rect class="paper" width="{number(_WIDTH)}" height="{number(_HEIGHT)}"/>'
    note = f"limits: {source if len(source) < 120 else source[:117] + '…'}"
    body = [
        paper,
        text(_LEFT, 26, title, size=16, weight=600),
        text(_LEFT, 44, said, pale=True),
        text(_LEFT, _HEIGHT - 12, note, size=11, pale=True),
        *_legend([name for name in _PROVIDERS if any(r.provider == name for r in sound)]),
        *(_drawn(sound) if sound else [text(_WIDTH / 2, _HEIGHT / 2, "nothing could be run")]),
    ]
    return svg(_WIDTH, _HEIGHT, title, _STYLE, body)


class _Axes:
    """Intensity from left to right, efficiency from below to above, both in powers of ten."""

    def __init__(self, results: Sequence[Result]) -> None:
        intensities = [math.log10(result.intensity) for result in results]
        shares = [math.log10(result.efficiency or 1.0) for result in results]
        self.x = math.floor(min(intensities)), math.ceil(max(*intensities, min(intensities) + 0.1))
        self.y = min(-1, math.floor(min(shares))), max(0.15, max(shares) + 0.1)

    def across(self, intensity: float) -> float:
        """Where an intensity is."""
        low, high = self.x
        return _LEFT + (math.log10(intensity) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def up(self, share: float) -> float:
        """Where an efficiency is."""
        low, high = self.y
        ground = _HEIGHT - _BOTTOM
        return ground - (math.log10(share) - low) / (high - low) * (ground - _TOP)

    def drawn(self) -> Iterator[str]:
        """Lines, ticks and what they mean."""
        ground, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for power in range(self.y[0], 1):
            for factor in (1, 2, 5):
                share = factor * 10.0**power
                if math.log10(share) > self.y[1]:
                    continue
                y = self.up(share)
                yield line("attainable" if share == 1 else "grid", (_LEFT, y), (right, y))
                yield text(_LEFT - 8, y + 4, f"{share * 100:g} %", anchor="end")
        yield text(right + 8, self.up(1) + 4, "attainable")
        yield line("axis", (_LEFT, ground), (right, ground))
        for power in range(self.x[0], self.x[1] + 1):
            x = self.across(10.0**power)
            yield line("axis", (x, ground), (x, ground + 5))
            yield text(x, ground + 20, f"{10.0**power:g}", anchor="middle")
        middle = (_LEFT + right) / 2
        yield text(
            middle, ground + 42, "operations for each byte that must be moved", anchor="middle"
        )


def _drawn(results: Sequence[Result]) -> Iterator[str]:
    axes = _Axes(results)
    yield from axes.drawn()
    problems: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        problems.setdefault((result.operation, result.problem, result.dtype), []).append(result)
    for group in problems.values():
        shares = [1.0, *(result.efficiency or 1.0 for result in group)]
        x = axes.across(group[0].intensity)
        yield line("gap", (x, axes.up(min(shares))), (x, axes.up(max(shares))))
    yield from _names(
        {key: axes.across(group[0].intensity) for key, group in problems.items()},
        axes.up(10 ** axes.y[1]),
    )
    for result in results:
        yield _mark(result, (axes.across(result.intensity), axes.up(result.efficiency or 1.0)))


def _names(places: Mapping[tuple[str, str, str], float], top: float) -> Iterator[str]:
    """Names of operations above their marks, kept apart; neighbours of one operation share one."""
    runs: list[tuple[str, list[float]]] = []
    marks = {(round(x / _CLOSE), operation): x for (operation, _, _), x in places.items()}
    for (_, operation), x in sorted(marks.items()):
        if runs and runs[-1][0] == operation:
            runs[-1][1].append(x)
        else:
            runs.append((operation, [x]))
    end = -math.inf
    ends = []
    for _, xs in runs:
        end = max(sum(xs) / len(xs), end + _SPACE)
        ends.append(end)
    # What was pushed past the right edge is pushed back.
    limit = _WIDTH - _RIGHT
    for index in reversed(range(len(ends))):
        ends[index] = min(ends[index], limit)
        limit = ends[index] - _SPACE
    for (operation, xs), end in zip(runs, ends, strict=True):
        for x in dict.fromkeys(round(x, 1) for x in xs):
            yield line("lead", (x, top + 12), (end, top - 4))
        yield (
            f'<text transform="translate({number(end + 3)},{number(top - 8)}) rotate(-52)" '
            f'font-size="11">{escape(operation)}</text>'
        )


def _mark(result: Result, place: Place) -> str:
    x, y = place
    told = (
        f"{result.operation}, {result.problem}, {result.dtype}, {_PROVIDERS[result.provider]}: "
        f"{result.efficiency or 0:.1%} of attainable"
    )
    return f"<g><title>{escape(told)}</title>{_shape(result.provider, x, y)}</g>"


def _shape(provider: str, x: float, y: float) -> str:
    """A shape for each provider, since not everybody tells the colours apart."""
    if provider == "triton":
        return f'<circle class="triton" cx="{number(x)}" cy="{number(y)}" r="4.2"/>'
    if provider == "eager":
        return (
            f'<rect class="eager" x="{number(x - 3.6)}" y="{number(y - 3.6)}" width="7.2" '
            'height="7.2"/>'
        )
    corners = [(x, y - 4.8), (x + 4.6, y + 3.6), (x - 4.6, y + 3.6)]
    if provider == "int_mm":
        corners = [(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)]
    return f'<polygon class="{provider}" points="{row(corners)}"/>'


def _legend(providers: Sequence[str]) -> Iterator[str]:
    x = _LEFT + 4
    for name in providers:
        yield _shape(name, x, 62)
        yield text(x + 10, 66, _PROVIDERS[name])
        x += 30 + 6.6 * len(_PROVIDERS[name])
