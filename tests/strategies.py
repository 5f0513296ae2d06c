"""Hypothesis strategies: trees of the shipped space, small grammars and their trees, any tree."""

from functools import cache
from random import Random

from hypothesis import strategies as st

from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.space import load_space
from searchspace.tree import PRIMITIVE, Node

NARROW = {"width": (32, 64), "depth": (1, 2)}
"""Limits under which the networks of the shipped space are small."""
SCHEMES = ("float", "w8a8")

seeds = st.integers(0, 2**32 - 1)


@cache
def shipped(*, narrow: bool = True, schemes: tuple[str, ...] = SCHEMES) -> Grammar:
    limits = NARROW if narrow else None
    return load_space("conv_large_kernel", classes=10, limits=limits, schemes=schemes)


def drawn(grammar: Grammar, seed: int) -> Architecture:
    return sample(grammar, Random(seed))


def shipped_architectures(*, narrow: bool = True) -> st.SearchStrategy[Architecture]:
    return st.builds(lambda seed: drawn(shipped(narrow=narrow), seed), seeds)


HEADER = "space small : image[6, 8, 8] -> classes[3]\n"
_DOMAINS = (
    "domain n = 0 .. 3\ndomain k = 3 | 5 | 7\ndomain w = 4 .. 8 step 2\ndomain act = gelu | relu\n"
)
_ATOMS = (
    "depthwise(k)",
    "activation(act)",
    "residual(depthwise(k) layer_norm)",
    "residual(residual(max_pool(3)) eca)",
    "strided_conv(w, 1)",
    "eca ^ p",
    "max_pool(k) ^^ n",
    "inverted(2, act) ^ n",
    "depthwise(k) ^^ b",
    "plain(act) ^ a",
    "depthwise(a * 2 + 3)",
)


@st.composite
def grammar_texts(draw: st.DrawFn) -> str:
    """Texts of small spaces whose trees all build: nested rules, both repeats, `with`, loops."""
    count = draw(st.integers(1, 3))
    lines = ["start -> strided_conv(w, 1) depthwise(k) activation(act) rule0(n)"]
    lines[0] += " global_pool classifier(classes)"
    for index in range(count):
        following = [f"rule{index + 1}(p)", f"rule{index + 1}(b)", f"rule{index + 1}(n) ^^ n"]
        last = index + 1 == count
        alternatives = []
        for position in range(draw(st.integers(1, 3))):
            items = draw(st.lists(st.sampled_from(_ATOMS), min_size=1, max_size=3))
            if position and draw(st.booleans()):
                items.append(f"rule{index}(p)")
            elif not last:
                items.append(draw(st.sampled_from(following)))
            weight = draw(st.sampled_from(("", "1 : ", "2.5 : ")))
            where = draw(st.sampled_from(("", " where a <= b", " where a <= b, a + b >= 2")))
            alternatives.append(f"{weight}{' '.join(items)} with a, b : n{where}")
        block = " is block" if draw(st.booleans()) else ""
        lines.append(f"rule{index}(p){block} -> " + "\n    | ".join(alternatives))
    return HEADER + _DOMAINS + "\n".join(lines) + "\n"


def small_grammars() -> st.SearchStrategy[Grammar]:
    return st.builds(lambda text: read_grammar(text, schemes=SCHEMES), grammar_texts())


_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
_values = st.lists(st.integers(-(10**17), 10**17) | _names, max_size=3).map(tuple)


def nodes() -> st.SearchStrategy[Node]:
    """Any tree that has a text, whether or not a grammar generates it."""

    def above(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        # Runs of equal nodes have a form of their own in the text.
        runs = st.lists(st.tuples(inner, st.integers(1, 3)), max_size=3)
        group = runs.map(lambda pairs: tuple(node for node, n in pairs for _ in range(n)))
        return _node(st.lists(group, max_size=3).map(tuple))

    return st.recursive(_node(st.just(())), above, max_leaves=8)


def _node(children: st.SearchStrategy[tuple[tuple[Node, ...], ...]]) -> st.SearchStrategy[Node]:
    alternatives = st.just(PRIMITIVE) | st.integers(0, 9)
    return st.builds(Node, _names, alternatives, _values, children, st.just("") | _names)
