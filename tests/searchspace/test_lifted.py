"""Counts by sets of values against counts value by value, and against lists of all trees."""

import pytest
from enumeration import every_tree
from strategies import HEADER

from searchspace.count import Counter
from searchspace.lifted import Lifted
from searchspace.read import read_grammar
from searchspace.space import load_space

_TAIL = "tail -> global_pool classifier(classes)\n"


@pytest.mark.parametrize(
    "rules",
    [
        # What passes a row of no copies is what a layer can make too.
        "net -> conv(w, 1, 1) a(w) ^ n tail\na(x) -> conv(x, 1, 1)\n",
        "net -> f(a) f(b) g(b, a) tail with a, b, c : w where a <= b, b <= c, a + c != 10\n"
        "f(x) -> conv(x, 1, 1) | eca\n"
        "g(x, y) -> eca where x == y | conv(x + y, 1, 1) eca ^ k with k : n\n",
        "net -> f(2) tail\nf(x) -> conv(w, 1, 1) f(x - 1) where x > 0 | bias where x == 0\n",
        "net -> branch(concat, a, a a) ^ n residual(b(v)) tail with v : w\n"
        "a -> conv(w, 1, 1) | eca\nb(x) -> conv(w, 1, 1) ^^ n conv(x, 3, 1) where x > 4 | bias\n",
    ],
)
def test_as_many_trees_as_can_be_listed(rules):
    text = HEADER + "domain w = 4 | 6\n" + ("domain n = 0 .. 2\n" if "^" in rules else "")
    grammar = read_grammar(text + rules + _TAIL)
    assert Lifted(grammar).count() == len(every_tree(grammar, 40))


_CONV_RESNET = {
    "width": (32, 96),
    "mid": (16, 32),
    "even": (32, 48),
    "fine": (16, 18),
    "inner": (64, 80),
    "top": (256, 512),
    "more": (0, 2),
    "deep": (0, 2),
    "chain": (3, 4),
}
_MOBILE = {"width": (8, 40), "hidden": (8, 64), "squeezed": (2, 12), "more": (0, 2)}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("pooling", {}),
        ("nasnet", {}),
        ("hybrid", {}),
        ("vit", {}),
        ("mobile", _MOBILE),
        ("conv_resnet", _CONV_RESNET),
        ("conv_resnet", _CONV_RESNET | {"width": (512, 640), "mid": (120, 136)}),
    ],
)
def test_spaces_have_as_many_trees_as_value_by_value(name, limits):
    grammar = load_space(name, limits=limits)
    expected = sum(sum(sizes.values()) for sizes in Counter(grammar).whole().values())
    assert Lifted(grammar).count() == expected
