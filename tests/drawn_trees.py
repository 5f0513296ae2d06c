"""Trees with composites in composites, for what draws them."""

from hypothesis import strategies as st

from searchspace.text import from_text
from searchspace.tree import Node, primitive

EVERY_COMPOSITE = (
    "net:0[a:0@float[residual[eca shift] eca]*2; "
    "branch(add)[eca; residual[max_pool(3)]; depthwise(3)*2]; "
    "dag[identity; eca; zero; depthwise(3); identity; residual[eca]]; "
    "reversible_columns(3)[depthwise(3); eca; shift eca]; "
    "branch(concat)[eca; eca; conv(4,1,1)]; global_pool]"
)
"""Composites that keep images of 8 channels, each with several bodies."""


def tree_of(text: str) -> Node:
    return from_text(text)


_LAYERS = st.sampled_from(
    [
        primitive("eca"),
        primitive("shift"),
        primitive("zero"),
        primitive("depthwise", 3),
        primitive("conv", 8, 3, 1),
        primitive("inverted", 2, "gelu"),
        primitive("grouped_conv", 8, 3, 1, 4),
    ]
)


def composite_trees() -> st.SearchStrategy[Node]:
    """Trees for images of 8 channels: rules, blocks and every composite, nested at will."""

    def above(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        body = st.lists(inner, max_size=3).map(tuple)

        def composite(name: str, least: int, *values: int | str) -> st.SearchStrategy[Node]:
            bodies = st.lists(body, min_size=least, max_size=4 if least == 2 else least)
            return bodies.map(lambda made: primitive(name, *values, children=tuple(made)))

        rule = st.builds(
            lambda items, times, scheme: Node("r", 0, (), (tuple(items) * times,), scheme),
            body,
            st.integers(1, 3),
            st.sampled_from(["", "float", "w8a8"]),
        )
        return st.one_of(
            rule,
            composite("residual", 1),
            composite("branch", 2, "add"),
            composite("branch", 2, "multiply"),
            composite("dag", 3),
            composite("dag", 6),
            composite("reversible_columns", 2, 2),
        )

    parts = st.recursive(_LAYERS, above, max_leaves=12)
    row = st.lists(parts, min_size=1, max_size=4)
    return row.map(lambda items: Node("net", 0, (), tuple((item,) for item in items)))
