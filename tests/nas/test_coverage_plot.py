from xml.etree import ElementTree

from nas.report.coverage_plot import Curve, coverage_svg

SVG = "{http://www.w3.org/2000/svg}"


def curve(name: str, *observed: float) -> Curve:
    return Curve(name=name, note="9 rows", promised=(0.5, 0.7, 0.9), observed=observed)


def test_each_family_has_a_panel_with_a_point_for_each_coverage() -> None:
    curves = [curve(f"family {i} <&>", 0.5, 0.7, 0.9) for i in range(7)]
    root = ElementTree.fromstring(coverage_svg(curves, "Coverage", "rows"))
    texts = [element.text for element in root.iter(SVG + "text")]
    assert all(f"family {i} <&>" in texts for i in range(7))
    assert len(list(root.iter(SVG + "circle"))) == 7 * 3
    frames = [rect for rect in root.iter(SVG + "rect") if rect.get("class") == "frame"]
    assert len({(rect.get("x"), rect.get("y")) for rect in frames}) == 7
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for rect in frames:
        assert float(rect.get("x", 0)) + float(rect.get("width", 0)) <= width
        assert float(rect.get("y", 0)) + float(rect.get("height", 0)) <= height


def test_kept_promises_lie_on_the_diagonal_and_broken_ones_below_it() -> None:
    text = coverage_svg([curve("kept", 0.5, 0.7, 0.9), curve("broken", 0.3, 0.5, 0.7)], "", "")
    dots = [
        (float(dot.get("cx", 0)), float(dot.get("cy", 0)))
        for dot in ElementTree.fromstring(text).iter(SVG + "circle")
    ]
    (x0, y0), _, (x2, y2) = dots[:3]
    assert abs((x2 - x0) - (y0 - y2)) < 0.05
    # Down on the page is less; what is off the axes stays at their edge.
    assert all(below[1] > kept[1] for kept, below in zip(dots[:3], dots[3:], strict=True))
    assert dots[3][1] <= y0 + 33.01
