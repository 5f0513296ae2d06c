import re

import pytest
from strategies import SCHEMES, drawn

from searchspace.check import TreeError, check
from searchspace.read import read_grammar
from searchspace.text import from_text, to_text

_GRAMMAR = read_grammar(
    "space s : image[8, 16, 16] -> classes[2]\n"
    "domain n = 1 .. 3\ndomain k = 3 | 5\n"
    "net -> f(a) ^ n eca ^^ 2 residual(depthwise(k) shift) with a, b : n where a <= b\n"
    "f(x) is block -> depthwise(k) eca ^ x | shift\n",
    schemes=SCHEMES,
)
_VALID = (
    "net:0(1,2)[f:0@float(1)[depthwise(3); eca] f:1@w8a8(1)[shift]; eca*2; "
    "residual[depthwise(5) shift]]"
)


def test_a_derivation_passes():
    check(_GRAMMAR, from_text(_VALID))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("net:0(1,2)", "f:0(1,2)", "a tree of s begins with 'net'; got 'f'"),
        ("net:0(1,2)", "net(1,2)", "a tree of s begins with 'net'; got 'net'"),
        ("net:0", "net:1", "at net: there are 1 alternatives; got 1"),
        ("net:0", "net:-2", "at net: there are 1 alternatives; got -2"),
        ("(1,2)", "(1)", "at net: 'with' draws a, b; got 1 values"),
        ("(1,2)", "(1,4)", "at net, b: n must be one of 1 | 2 | 3; got 4"),
        ("(1,2)", "(1,gelu)", "at net, b: n must be one of 1 | 2 | 3; got gelu"),
        ("(1,2)", "(3,2)", "at net: the values (3, 2) do not keep the constraints"),
        ("(1,2)", "(2,2)", "at net/f[0]: the value must be 2; got 1"),
        ("net:0", "net:0@float", "at net: the precision scheme must be one of none; got 'float'"),
        (
            "f:1@w8a8",
            "f:1",
            "at net/f[1]: the precision scheme must be one of float, w8a8; got ''",
        ),
        (
            "f:1@w8a8",
            "f:1@w4",
            "at net/f[1]: the precision scheme must be one of float, w8a8; got 'w4'",
        ),
        ("f:1@w8a8(1)", "f:2@w8a8(1)", "at net/f[1]: there are 2 alternatives; got 2"),
        ("f:1@w8a8(1)", "f:1@w8a8", "at net/f[1]: 1 values are needed; got ()"),
        ("f:1@w8a8(1)", "f:1@w8a8(1,1)", "at net/f[1]: 'with' draws nothing; got 1 values"),
        ("[depthwise(3); eca]", "[depthwise(3)]", "at net/f[0]: 2 items are needed; got 1"),
        (
            "[depthwise(3); eca]",
            "[depthwise(3); eca eca]",
            "at net/f[0], count of eca: the value must be 1; got 2",
        ),
        (
            "[depthwise(3); eca]",
            "[depthwise(3)*2; eca]",
            "at net/f[0]: one depthwise is needed; got 2",
        ),
        (
            "depthwise(3)",
            "depthwise(7)",
            "at net/f[0]/depthwise[0]: k must be one of 3 | 5; got 7",
        ),
        (
            "depthwise(3)",
            "depthwise(3,3)",
            "at net/f[0]/depthwise[0]: a primitive has 1 values and no scheme",
        ),
        (
            "depthwise(3)",
            "depthwise@float(3)",
            "at net/f[0]/depthwise[0]: a primitive has 1 values and no scheme",
        ),
        ("[shift]", "[eca]", "at net/f[1]/shift[0]: 'shift' is needed; got 'eca'"),
        ("[shift]", "[shift:0]", "at net/f[1]/shift[0]: 'shift' is needed; got 'shift'"),
        (
            "f:1@w8a8(1)[shift]; eca*2",
            "f:1@w8a8(1)[shift]*3; eca*2",
            "at net, count of f: n must be one of 1 | 2 | 3; got 4",
        ),
        (
            "residual[depthwise(5) shift]",
            "residual",
            "at net/residual[0]: needs 1 sequences; got 0",
        ),
        (
            "depthwise(5) shift",
            "depthwise(5)",
            "at net/residual[0]: 2 items are needed; got 1",
        ),
        (
            "depthwise(5) shift",
            "depthwise(4) shift",
            "at net/residual[0]/depthwise: k must be one of 3 | 5; got 4",
        ),
    ],
)
def test_other_trees_are_refused_with_the_place(old, new, message):
    assert _VALID.count(old) == 1
    with pytest.raises(TreeError, match=f"^{re.escape(message)}$"):
        check(_GRAMMAR, from_text(_VALID.replace(old, new)))


def test_copies_that_differ_are_refused():
    grammar = read_grammar(
        "space s : image[8, 16, 16] -> classes[2]\ndomain k = 3 | 5\nnet -> depthwise(k) ^^ 2\n"
    )
    check(grammar, from_text("net:0[depthwise(3)*2]"))
    with pytest.raises(TreeError, match="all copies of depthwise must be the same"):
        check(grammar, from_text("net:0[depthwise(3) depthwise(5)]"))


def test_a_tree_of_a_wider_space_is_refused_where_it_leaves_the_narrow_one():
    text = _GRAMMAR.text
    narrow = read_grammar(text, limits={"k": (3, 3)}, schemes=SCHEMES)
    trees = [drawn(_GRAMMAR, seed).root for seed in range(30)]
    wide = [tree for tree in trees if "depthwise(5)" in to_text(tree)]
    assert 0 < len(wide) < len(trees)
    for tree in trees:
        if tree in wide:
            with pytest.raises(TreeError, match="k must be one of 3; got 5"):
                check(narrow, tree)
        else:
            check(narrow, tree)
