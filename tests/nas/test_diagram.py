"""Pictures: nothing overlaps, every label is there, and the same graph gives the same text."""

import re
from collections import Counter
from itertools import combinations
from random import Random
from xml.etree import ElementTree

import networkx as nx
import pytest
from drawn_trees import EVERY_COMPOSITE, composite_trees, tree_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nas.report.diagram.columns import arranged
from nas.report.diagram.insides import opened
from nas.report.diagram.labels import text_width, value_lines
from nas.report.diagram.layered import Size, layered
from nas.report.diagram.nesting import parameters_of
from nas.report.diagram.outline import outline
from nas.report.diagram.svg import svg
from nas.report.diagram.wires import wires
from searchspace.graph import graph
from searchspace.sample import sample
from searchspace.shapes import image
from searchspace.space import load_space
from searchspace.text import from_text

SPEC = image(8, 8, 8)
SVG = "{http://www.w3.org/2000/svg}"
VIT_B16 = from_text(
    "network:0(12)[columnar:1(12)[patches:0@float(768)[patch_tokens(768,16)]; "
    "classed:0@float[class_token]; placed:0@float[position]; "
    "stage:1(12)[block:0@float(12)[residual[layer_norm attend:0(12)[attention(12)]]; "
    "residual[layer_norm token_mlp(4,gelu)]]*12]; "
    "first:0@float[layer_norm; token_pool(first); classifier(1000)]]]"
)


def shipped(name, seed, **limits):
    grammar = load_space(name, limits=limits)
    return graph(sample(grammar, Random(seed)).root, grammar.input, fold=True)


def some_graphs():
    yield "vit_b16", graph(VIT_B16, image(3, 224, 224), fold=True)
    yield "vit_b16 all", graph(VIT_B16, image(3, 224, 224))
    yield "composites", graph(tree_of(EVERY_COMPOSITE), SPEC, fold=True)
    yield "composites all", graph(tree_of(EVERY_COMPOSITE), SPEC)
    for seed in range(2):
        yield f"conv {seed}", shipped("conv_large_kernel", seed)
        yield f"vit {seed}", shipped("vit", seed)


SOME = dict(some_graphs())


@pytest.fixture(params=SOME)
def drawn(request):
    return SOME[request.param]


# --- Layers --------------------------------------------------------------------------------------


@st.composite
def boxes(draw):
    """An acyclic graph whose nodes have sizes."""
    count = draw(st.integers(1, 9))
    dag = nx.DiGraph()
    dag.add_nodes_from(range(count))
    pairs = list(combinations(range(count), 2))
    if pairs:
        dag.add_edges_from(draw(st.sets(st.sampled_from(pairs))))
    sizes = {}
    for node in dag:
        width = draw(st.integers(1, 200))
        ends = st.integers(0, width)
        sizes[node] = Size(
            width=width, height=draw(st.integers(1, 60)), entry=draw(ends), leave=draw(ends)
        )
    return dag, sizes


@settings(max_examples=100, deadline=None)
@given(boxes())
def test_layers_lead_down_and_nothing_overlaps(case):
    dag, sizes = case
    placed = layered(dag, sizes, across=10, down=20)
    rects = {n: (x, y, sizes[n].width, sizes[n].height) for n, (x, y) in placed.places.items()}
    for a, b in combinations(rects.values(), 2):
        assert apart(a, b, 10 - 1e-6)
    for x, y, width, height in rects.values():
        assert -1e-6 <= x <= placed.width - width + 1e-6
        assert 0 <= y <= placed.height - height + 1e-6
    for a, b in dag.edges:
        assert rects[a][1] + rects[a][3] + 20 <= rects[b][1] + 1e-6
    for (a, b), lanes in placed.lanes.items():
        assert dag.has_edge(a, b)
        for x, top, bottom in lanes:
            assert all(apart((x, top, 0, bottom - top), rect, 0) for rect in rects.values())


def apart(a, b, least):
    """Whether two rectangles keep a distance beside one another, or stand below one another."""
    (x, y, w, h), (p, q, u, v) = a, b
    return x + w + least <= p or p + u + least <= x or y + h <= q or q + v <= y


def test_a_chain_stands_upright_whatever_its_widths():
    dag = nx.path_graph(4, nx.DiGraph)
    widths = dict(enumerate((10, 90, 30, 55)))
    sizes = {n: Size(width=w, height=5, entry=w / 2, leave=w / 2) for n, w in widths.items()}
    placed = layered(dag, sizes, across=10, down=10)
    axes = {round(placed.places[n][0] + widths[n] / 2, 6) for n in dag}
    assert axes == {45.0}


def test_orders_are_chosen_that_cross_nothing():
    dag = nx.DiGraph([("s", "a"), ("s", "b"), ("a", "d"), ("b", "c"), ("c", "t"), ("d", "t")])
    sizes = {n: Size(width=20, height=5, entry=10, leave=10) for n in dag}
    x = {n: place[0] for n, place in layered(dag, sizes, across=10, down=10).places.items()}
    assert (x["a"] < x["b"]) == (x["d"] < x["c"])


# --- Places --------------------------------------------------------------------------------------


def rect_of(box):
    return box.x, box.y, box.width, box.height


def inside(inner, outer):
    (x, y, w, h), (p, q, u, v) = inner, outer
    slack = 1e-6
    return p <= x + slack and q <= y + slack and x + w <= p + u + slack and y + h <= q + v + slack


def is_sound(drawn):
    """Boxes do not overlap and stand in their frames; edges meet the boxes at their ends alone."""
    picture = arranged(drawn)
    boxes = {n: rect_of(box) for n, box in picture.boxes.items()}
    assert set(boxes) == set(drawn)
    for a, b in combinations(boxes.values(), 2):
        assert apart(a, b, 0), (a, b)
    whole = (0.0, 0.0, picture.width, picture.height)
    assert all(inside(box, whole) for box in boxes.values())
    frames = [rect_of(frame.rect) for frame in picture.frames]
    for a, b in combinations(frames, 2):
        assert apart(a, b, 0) or inside(b, a) or inside(a, b), (a, b)
    for frame in picture.frames:
        words = f"{frame.title}   {frame.note}"
        assert text_width(words, 11.5, bold=True) <= frame.rect.width + 1e-6
    stand_in_their_frames(drawn, picture, boxes)
    found = list(wires(drawn, picture))
    assert {wire.edge for wire in found} == set(drawn.edges)
    for wire in found:
        meets_only_its_ends(wire, boxes)


def stand_in_their_frames(drawn, picture, boxes):
    groups = drawn.graph["groups"]
    for node, box in boxes.items():
        group = drawn.nodes[node]["group"]
        while group is not None:
            own = [rect_of(f.rect) for f in picture.frames if f.group == group]
            assert not own or any(inside(box, frame) for frame in own)
            group = groups[group].parent


def meets_only_its_ends(wire, boxes):
    (x, y), (p, q) = wire.points[0], wire.points[-1]
    for (px, py), node in (((x, y), wire.edge[0]), ((p, q), wire.edge[1])):
        bx, by, w, h = boxes[node]
        assert bx - 1e-6 <= px <= bx + w + 1e-6
        assert by - 1e-6 <= py <= by + h + 1e-6
    for (ax, ay), (bx, by) in zip(wire.points, wire.points[1:], strict=False):
        if abs(ax - bx) > 0.01 and abs(ay - by) > 0.01:
            # A curve stays in the rectangle of its ends, but not every rectangle is free: it swings
            # across in the gap between two layers.
            ay = by = (ay + by) / 2
        segment = (min(ax, bx), min(ay, by), abs(ax - bx), abs(ay - by))
        for node, (x, y, w, h) in boxes.items():
            if node not in wire.edge:
                shrunk = (x + 0.5, y + 0.5, w - 1, h - 1)
                assert apart(segment, shrunk, 0), (wire, node)


def test_nothing_overlaps(drawn):
    is_sound(drawn)


@settings(max_examples=60, deadline=None)
@given(composite_trees(), st.booleans())
def test_nothing_overlaps_however_composites_nest(root, fold):
    is_sound(graph(root, SPEC, fold=fold))


def test_nothing_overlaps_in_cells_of_nasnet():
    grammar = load_space("nasnet")
    for seed in range(2):
        root = sample(grammar, Random(seed)).root
        closed = graph(root, grammar.input, fold=True)
        drawn = opened(closed)
        assert not any(data["name"] == "nasnet_cell" for _, data in drawn.nodes(data=True))
        assert nx.is_directed_acyclic_graph(drawn)
        assert [n for n in drawn if not drawn.succ[n]] == [len(drawn) - 1]
        assert parameters_of(drawn)[None] == parameters_of(closed)[None]
        is_sound(drawn)


def test_a_folded_vit_is_less_than_two_screens():
    picture = arranged(SOME["vit_b16"])
    assert picture.height < 2 * 1080
    assert len(picture.columns) == 1


def test_long_networks_are_broken_into_columns_that_fit_a_screen_better():
    picture = arranged(SOME["conv 0"])
    assert len(picture.columns) > 3
    assert 0.6 < picture.width / picture.height < 4
    names = [frame.title for frame in picture.frames]
    assert any(name.endswith("(continued)") for name in names)
    heights = [column.height for column in picture.columns]
    assert max(heights[:-1]) < 2 * min(heights[:-1])


# --- SVG -----------------------------------------------------------------------------------------


def words_of(text):
    return Counter("".join(t.itertext()) for t in ElementTree.fromstring(text).iter(f"{SVG}text"))


def test_every_label_is_there(drawn):
    words = words_of(svg(drawn, "title"))
    names, values, shapes = Counter(), Counter(), Counter()
    for _, node in drawn.nodes(data=True):
        if node["kind"] == "primitive":
            count = f" × {node['count']}" if node["count"] > 1 else ""
            names[node["name"] + count] += 1
            values.update(value_lines(node["values"]))
        if node["after"] != node["before"]:
            shapes[str(node["after"])] += 1
    for wanted in (names, values, shapes):
        assert all(words[word] >= count for word, count in wanted.items())
    assert words["title"] == words["input"] == words["output"] == 1


def test_the_form_of_the_file(drawn):
    root = ElementTree.fromstring(svg(drawn, "title"))
    assert root.tag == f"{SVG}svg"
    _, _, width, height = map(float, root.get("viewBox").split())
    assert (float(root.get("width")), float(root.get("height"))) == (width, height)
    numbers = [float(e.get("x")) for e in root.iter(f"{SVG}text")]
    assert all(0 <= x <= width for x in numbers)
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


def test_vit_b16_says_what_it_is():
    words = words_of(svg(SOME["vit_b16"], "vit_b16"))
    assert words["86,567,656 parameters · image[3, 224, 224] → vector[1000]"] == 1
    assert words["stage · block × 12"] == 1
    assert words["attention"] == 2, "the layer, and the legend"
    assert words["heads 12"] == 1
    assert words_of(svg(SOME["vit_b16 all"], ""))["heads 12"] == 12


def test_what_xml_reserves_is_escaped():
    title = 'a <b> & "c"'
    text = svg(SOME["composites"], title)
    assert words_of(text)[title] == 1
    assert "<b>" not in text


def test_the_same_graph_gives_the_same_text():
    again = graph(VIT_B16, image(3, 224, 224), fold=True)
    assert svg(again, "x") == svg(SOME["vit_b16"], "x")


def test_every_class_that_is_used_has_a_style_in_both_surroundings(drawn):
    text = svg(drawn, "x")
    used = set(re.findall(r'class="(\w+)"', text)) - {"name", "title"}
    light, dark = re.search(r"<style>(.*)@media[^{]*{(.*)}</style>", text).groups()
    for style in used:
        assert f".{style}" in light
        assert f".{style}" in dark


# --- The terminal --------------------------------------------------------------------------------


def printed(drawn):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(outline(drawn, "title"))
    return console.export_text()


def test_the_outline_holds_every_layer(drawn):
    text = printed(drawn)
    layers = [data["name"] for _, data in drawn.nodes(data=True) if data["kind"] == "primitive"]
    for name, count in Counter(layers).items():
        assert len(re.findall(rf"─ {name}\b", text)) == count


def test_the_outline_of_vit_b16():
    lines = printed(SOME["vit_b16"]).splitlines()
    assert lines[0].rstrip() == "title  86,567,656 parameters"
    assert lines[8].rstrip() == "├── stage · block × 12  7.09M each"
    assert lines[9:12] == [
        "│   ├── residual  2.36M",
        "│   │   ├── layer_norm  1.54K",
        "│   │   └── attention  heads 12  2.36M",
    ]
    assert lines[-1].rstrip() == "    └── classifier  classes 1000  769K  → vector[1000]"
