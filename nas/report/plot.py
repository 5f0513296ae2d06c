"""Parts of plots as SVG: the page, lines, texts and ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

Place = tuple[float, float]
"""x and y."""
_FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(width: float, height: float, title: str, style: str, body: Iterable[str]) -> str:
    """The text of an SVG file.

    Args:
        width: in pixels.
        height: in pixels.
        title: what a reader that shows no pictures says.
        style: a `style` element.
        body: elements.
    """
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" '
        f'height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'font-family="{_FONT}">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", style, *body, "</svg>", ""])


def nice(step: float) -> float:
    """The next larger of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def line(name: str, start: Place, end: Place) -> str:
    """A line of a class of the style."""
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line class="{name}" x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" '
        f'y2="{number(y2)}"/>'
    )


def text(
    x: float,
    y: float,
    said: str,
    *,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
    pale: bool = False,
) -> str:
    """A text; its end or middle at `x` by `anchor`."""
    name = ' class="pale"' if pale else ""
    return (
        f'<text{name} x="{number(x)}" y="{number(y)}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(said)}</text>'
    )


def row(places: Sequence[Place]) -> str:
    """Places as polygons and polylines take them."""
    return " ".join(f"{number(x)},{number(y)}" for x, y in places)


def number(value: float) -> str:
    """A length without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
