"""Choices to trees: what leaves none is filled in, what does not fit is refused."""

from random import Random

import pytest

from searchspace.check import TreeError
from searchspace.picks import derive, pick
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.text import to_text

GRAMMAR = read_grammar(
    """
space small : image[4, 8, 8] -> classes[3]
domain width = 4 | 8
domain kernel = 3 | 5
domain act = gelu | relu
net -> stem(w, 1) body ^ w rest(2) head with w : width
stem(w, s) is block -> strided_conv(w, s) | conv(w, 1, s) where s > 1
body is block -> residual(depthwise(kernel) activation(act)) | eca | nothing
nothing -> bias
rest(n) -> eca rest(n - 1) where n > 0 | eca where n == 0
head is block -> global_pool classifier(classes)
"""
)
BODIES = [pick(0, 3, "gelu"), pick(1), pick(2), pick(0, 5, "relu")]


def test_choices_lead_to_their_tree():
    found = derive(GRAMMAR, pick(0, BODIES, w=4))
    assert found.space == "small"
    assert to_text(found.root) == (
        "net:0(4)[stem:0@float(4,1)[strided_conv(4,1)]; "
        "body:0@float[residual[depthwise(3) activation(gelu)]] body:1@float[eca] "
        "body:2@float[nothing:0[bias]] body:0@float[residual[depthwise(5) activation(relu)]]; "
        "rest:0(2)[eca; rest:0(1)[eca; rest:1(0)[eca]]]; head:0@float[global_pool; classifier(3)]]"
    )


@pytest.mark.parametrize("seed", range(10))
def test_every_tree_can_be_derived(seed):
    """The choices are read off a drawn tree."""
    root = sample(GRAMMAR, Random(seed)).root
    bodies = []
    for body in root.children[1]:
        if body.alternative:
            bodies.append(pick(body.alternative))
        else:
            depthwise, activation = body.children[0][0].children[0]
            bodies.append(pick(0, *depthwise.values, *activation.values))
    assert derive(GRAMMAR, pick(0, bodies, w=root.values[0])).root == root


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (pick(0, BODIES), "alternative 0 of 'net' needs values of w; got nothing"),
        (pick(1, BODIES, w=4), r"'net' needs a pick from 1 alternatives here; got Pick\("),
        (pick(0, w=4), "'body' repeats: it needs a list of picks; got None"),
        (pick(0, [*BODIES[:3], pick(3)], w=4), "'body' needs a pick from 3 alternatives here"),
        (pick(0, [pick(0, 3)] * 4, w=4), "'activation' draws from act here: .*; got None"),
        (pick(0, [pick(1, 3)] * 4, w=4), "'body' has no use for 3: it is one choice too many"),
        (pick(0, BODIES, 7, w=4), "'net' has no use for 7: it is one choice too many"),
        (pick(0, BODIES[:3], w=4), "count of body: the value must be 4; got 3"),
        (pick(0, [pick(0, 7, "relu")] * 4, w=4), "kernel must be one of 3 | 5; got 7"),
    ],
)
def test_what_does_not_fit_is_refused(choices, message):
    with pytest.raises(TreeError, match=message):
        derive(GRAMMAR, choices)
