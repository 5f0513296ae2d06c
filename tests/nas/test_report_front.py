"""The solver's front and its ranked designs, as tables and as a picture."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from rich.console import Console

from nas.report.front import points_table, ranked_table
from nas.report.front_plot import front_svg

SVG = "{http://www.w3.org/2000/svg}"


def point(limit, score=None, gap=0.01, used=0.9):
    if score is None:
        names = ("used", "score", "bound", "gap", "architecture", "key")
        return {"limit": limit, **dict.fromkeys(names)}
    return {
        "limit": limit,
        "used": used * limit,
        "score": score,
        "bound": score * (1 + gap),
        "gap": gap,
        "architecture": "",
        "key": f"{round(score):016d}",
    }


FRONT = {
    "name": "high_ms",
    "unit": "ms",
    "seconds": 12.3,
    "points": [point(0.4), point(0.5, 900.0), point(1.0, 1000.0), point(2.0, 1400.0, 0.05)],
}
"""A limit that nothing keeps, and three points."""


def shown(table):
    console = Console(width=79, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_each_point_has_a_row_with_its_proof():
    text = shown(points_table(FRONT))
    assert "Front of score against latency, solved in 12 s" in text
    (row,) = [line for line in text.splitlines() if "2 ms" in line]
    for figure in ("1.8 ms", "1,400.0", "1,470.0", "5.00%", FRONT["points"][-1]["key"]):
        assert figure in row
    (row,) = [line for line in text.splitlines() if "0.4 ms" in line]
    assert "no design" in row


def test_ranked_designs_fit_a_terminal():
    row = {
        "score": 36161.2,
        "bound": 36400.9,
        "gap": 0.0066,
        "high_ms": 3.1416,
        "macs": 1.82e9,
        "params": 11_700_000,
        "effectiveness": 0.3,
        "key": "0123456789abcdef",
    }
    text = shown(ranked_table({"ranked": [row, row]}))
    for figure in ("36,161.2", "36,400.9", "0.66%", "3.142", "1.82G", "11.7M", row["key"]):
        assert text.count(figure) == 2
    assert "…" not in text


def parts(front):
    root = ElementTree.fromstring(front_svg(front, "a < b"))
    return root, {
        name: [e for e in root.iter() if name in (e.get("class") or "").split()]
        for name in ("dot", "top", "band", "score", "bound")
    }


def steps(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def test_the_picture_has_every_point_and_its_bound_above_it():
    root, found = parts(FRONT)
    assert root.find(f"{SVG}title").text == "a < b"
    curve = [e for e in found["score"] if e.tag == f"{SVG}polyline"]
    ceiling = [e for e in found["bound"] if e.tag == f"{SVG}polyline"]
    dots = [(float(e.get("cx")), float(e.get("cy"))) for e in found["dot"]][:3]
    tops = [float(e.get("y1")) for e in found["top"]][:3]
    assert dots == sorted(dots, key=lambda place: (place[0], -place[1])), "rising to the right"
    assert all(top <= y for (_, y), top in zip(dots, tops, strict=True))
    assert set(dots) <= set(steps(curve[0]))
    for line in (curve[0], ceiling[0]):
        places = steps(line)
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
        for (x1, y1), (x2, y2) in pairwise(places):
            assert x1 == x2 or y1 == y2, "steps: nothing is claimed between limits"


def test_axes_have_units_and_ticks():
    root, _ = parts(FRONT)
    said = [element.text for element in root.iter(f"{SVG}text")]
    assert "score (nats)" in said
    assert "limit on latency (ms, upper end of its range)" in said
    for tick in ("0.5", "1", "2", "1,000", "1,400"):
        assert tick in said


@pytest.mark.parametrize("points", [[], [point(1.0)], [point(1.0, 5.0)], [point(1.0, -5.0, 0)]])
def test_few_points_are_drawn_too(points):
    front_svg({**FRONT, "points": points}, "few")
