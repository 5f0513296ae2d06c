"""Equal forms are equal functions, and other forms other ones: both by running the modules."""

import os
import subprocess
import sys
from collections import Counter
from itertools import permutations, product
from random import Random

import pytest
import torch
from hypothesis import given, settings
from strategies import drawn, seeds, shipped, small_grammars
from torch import nn

from searchspace.architecture import Architecture
from searchspace.build import build, calls, flow, sequence_of
from searchspace.canonical import canonical, canonical_key
from searchspace.primitives import PRIMITIVES
from searchspace.shapes import ShapeError, TensorSpec, image, vector
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.tree import PRIMITIVE, Node, primitive

IMAGE = image(8, 6, 6)
IDENTITY, ZERO = primitive("identity"), primitive("zero")


def form(text: str, spec: TensorSpec = IMAGE) -> str:
    return str(canonical(from_text(f"net:0[{text}]"), spec))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Wrappers and brackets.
        ("eca identity layer_norm", "a:0[eca; b:1[layer_norm]]"),
        ("residual[eca]", "branch(add)[eca; a:0[identity identity]]"),
        ("branch(concat)[branch(concat)[eca; bias]; shift]", "branch(concat)[eca; bias; shift]"),
        ("branch(add)[eca; residual[bias]]", "branch(add)[bias; eca; identity]"),
        ("branch(multiply)[eca; bias]", "branch(multiply)[bias; eca]"),
        ("dag[eca]", "eca"),
        ("dag[eca; zero; bias]", "eca bias"),
        ("dag[eca; identity; bias]", "branch(add)[identity; eca bias]"),
        ("dag[eca; bias; identity]", "branch(add)[bias; eca]"),
        ("dag[eca; zero; identity; identity; bias; zero]", "branch(add)[identity; eca bias]"),
        ("fork(clone,add)[eca; bias]", "branch(add)[eca; bias]"),
        ("fork(clone,concat1)[eca; bias]", "branch(concat)[eca; bias]"),
        ("fork_copies(4,clone,add)[eca]", "branch(add)[eca; eca; eca; eca]"),
        ("fork(group1,concat1)[identity; identity]", "identity"),
        # What leads nowhere.
        ("eca zero layer_norm", "zero layer_norm"),
        ("eca zero conv(8,3,2) shift layer_norm", "zero conv(8,3,2) layer_norm"),
        ("branch(add)[eca; bias zero]", "eca"),
        ("branch(multiply)[eca; zero]", "zero"),
        ("residual[eca zero]", "identity"),
        ("residual[branch(multiply)[eca; zero]] bias", "bias"),
        # Zeros and what follows are the same at every place, of which windows take the mean.
        ("zero batch_norm average_pool(3)", "zero batch_norm"),
        ("branch(add)[eca; zero bias] max_pool(3)", "branch(add)[eca max_pool(3); zero bias]"),
        (
            "dag[zero; eca; bias; zero; zero; average_pool(5)]",
            "branch(add)[zero bias; eca average_pool(5)]",
        ),
        ("zero conv(8,1,1) bias pointwise average_pool(3)", "zero bias pointwise"),
        # The same function by other means.
        ("activation(relu) activation(relu)", "activation(relu)"),
        ("activation(relu) max_pool(3) activation(relu)", "activation(relu) max_pool(3)"),
        ("activation(relu) activation(relu6) activation(relu6)", "activation(relu6)"),
        ("softmax activation(leaky_relu)", "softmax"),
        ("to_tokens to_image eca", "eca"),
        ("to_tokens bias to_image to_tokens to_image", "to_tokens bias to_image"),
        ("unfold(1,1)", "to_tokens"),
        ("permute(hwc) permute(cwh)", "permute(hcw)"),
        ("permute(hwc) permute(wch)", "identity"),
        ("resize(1000) eca", "eca"),
        ("average_pool(3)", "strided_average_pool(3,1)"),
        ("global_pool", "mean_pool mean_pool"),
        # Layers without weights may be computed once or twice, those before a fork among them.
        (
            "max_pool(3) residual[conv(8,3,1)]",
            "branch(add)[max_pool(3); max_pool(3) conv(8,3,1)]",
        ),
        (
            "dag[max_pool(3); zero; conv(8,3,1); zero; identity; bias]",
            "max_pool(3) residual[conv(8,3,1) bias]",
        ),
        # A layer that two paths read: named by what reads it, not by where it stands.
        ("branch(add)[shift; eca residual[bias]]", "branch(add)[eca residual[bias]; shift]"),
        (
            "branch(add)[shift; eca residual[bias]]",
            "dag[eca; shift; identity; zero; bias; identity]",
        ),
    ],
)
def test_these_are_one(one, other):
    assert form(one) == form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("eca layer_norm", "layer_norm eca"),
        ("residual[identity]", "identity"),
        ("residual[eca]", "eca"),
        ("branch(concat)[eca; bias]", "branch(concat)[bias; eca]"),
        ("branch(multiply)[identity; identity]", "identity"),
        ("zero layer_norm", "zero"),
        ("zero bias", "zero"),
        ("zero bias conv(8,3,1) average_pool(3)", "zero bias conv(8,3,1)"),
        ("zero bias strided_average_pool(2,1)", "zero bias"),
        ("branch(add)[eca; bias] average_pool(3)", "branch(add)[eca average_pool(3); bias]"),
        ("conv(8,3,1) conv(8,3,1)", "conv(8,3,1)"),
        ("max_pool(3) max_pool(3)", "max_pool(3)"),
        ("activation(gelu) activation(gelu)", "activation(gelu)"),
        ("drop_path(10)", "drop_path(20)"),
        ("permute(hwc) permute(hwc)", "identity"),
        ("fork(group1,concat1)[identity; identity]", "fork(group1,concat2)[identity; identity]"),
        # One convolution that two read is not two convolutions.
        (
            "conv(8,3,1) residual[eca]",
            "branch(add)[conv(8,3,1); conv(8,3,1) eca]",
        ),
        (
            "branch(add)[shift; eca residual[bias]]",
            "branch(add)[shift; eca; eca bias]",
        ),
        ("branch(add)[eca; eca]", "eca residual[identity]"),
    ],
)
def test_these_are_two(one, other):
    assert form(one) != form(other)


def test_shapes_decide():
    assert form("to_tokens to_image", image(8, 4, 9)) != "sequence"
    assert form("to_tokens to_image", image(8, 6, 6)) == "sequence"
    assert form("max_pool(3)", image(4, 1, 1)) == "sequence"
    assert form("mean_pool", vector(4)) == "sequence"
    assert form("zero max_pool(3) global_pool") == form("strided_max_pool(2,2) zero global_pool")


def test_a_scheme_makes_another_function_and_only_the_outermost_counts():
    def network(*schemes: str) -> str:
        inner = Node("inner", 0, (), ((primitive("eca"), IDENTITY),), schemes[1])
        outer = Node("outer", 0, (), ((inner, primitive("bias")),), schemes[0])
        return str(canonical(Node("net", 0, (), ((outer,),)), IMAGE))

    plain = network("float", "float")
    assert plain == network("", "") == form("eca bias")
    assert len({plain, network("w8a8", "float"), network("", "w8a8")}) == 3
    assert network("float", "w8a8") == plain
    assert network("w8a8", "float") == network("w8a8", "w8a8")


def test_the_same_object_and_the_same_key_in_every_process():
    architecture = drawn(shipped(), 5)
    spec = shipped().input
    assert canonical(architecture.root, spec) is canonical(architecture.root, spec)
    assert canonical(architecture.root, spec) == canonical(architecture.root, spec)
    key = canonical_key(architecture, spec)
    assert len(key) == 16
    assert int(key, 16) >= 0
    code = (
        "from searchspace.architecture import Architecture as A\n"
        "from searchspace.canonical import canonical_key\n"
        "from searchspace.shapes import image\n"
        "from searchspace.text import from_text\n"
        f"a = A(space='s', root=from_text({architecture.text!r}))\n"
        f"print(canonical_key(a, image{spec.shape}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == key


def test_a_shape_that_is_not_served_is_a_fault_with_its_place():
    with pytest.raises(ShapeError, match=r"^at net/shift: shift needs an image of 5 channels"):
        canonical(from_text("net:0[shift]"), image(4, 6, 6))
    with pytest.raises(ShapeError, match="1 values are needed"):
        canonical(from_text("net:0[depthwise]"), IMAGE)


# Rewriting: the same function, written otherwise.


class Rewriter:
    """Writes a tree otherwise; weighted leaves are numbered as they were in the old tree."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.numbers: dict[tuple[str, int], int] = {}
        self.made = Counter[str]()

    def chance(self) -> bool:
        return self.random.random() < 0.25

    def rule(self, node: Node) -> Node:
        """A node of rules alone: its children in one group, rewritten."""
        return Node(node.symbol, node.alternative, (), (self.row(node.flat()),), node.scheme)

    def row(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        new = [self.node(node) for node in nodes]
        if len(new) > 1 and self.chance():
            start = self.random.randrange(len(new))
            end = self.random.randrange(start, len(new)) + 1
            new[start:end] = [Node("bracket", 0, (), (tuple(new[start:end]),))]
        if self.chance():
            new.insert(self.random.randrange(len(new) + 1), IDENTITY)
        return tuple(new)

    def node(self, node: Node) -> Node:
        if not node.is_primitive:
            return self.rule(node)
        if node.symbol == "residual":
            node = primitive("branch", "add", children=((IDENTITY,), *node.children))
        groups = [self.row(group) for group in node.children]
        if node.symbol == "branch" and node.values != ("concat",):
            self.random.shuffle(groups)
        if node.symbol == "branch":
            groups = self.nested(node.values, groups)
        if node.values == ("add",) and self.chance():
            groups.append((*self.random.choice(groups), ZERO))
        children = tuple(groups)
        return Node(node.symbol, PRIMITIVE, node.values, children)

    def nested(self, values: tuple, groups: list) -> list:
        if len(groups) < 3 or not self.chance():
            return groups
        start = self.random.randrange(len(groups) - 1)
        inner = primitive("branch", *values, children=tuple(groups[start : start + 2]))
        return [*groups[:start], (inner,), *groups[start + 2 :]]


GRAMMARS = {
    name: load_space(name, limits=limits)
    for name, limits in (
        ("conv_large_kernel", {"depth": (1, 3)}),
        ("conv_resnet", {"more": (0, 2)}),
        ("mobile", {"more": (0, 2)}),
        ("vit", {"depth": (1, 3)}),
        ("nasbench201", {}),
        ("pooling", {}),
    )
}


@pytest.mark.parametrize("name", GRAMMARS)
@given(seed=seeds)
@settings(max_examples=12)
def test_rewritten_trees_keep_their_key(name, seed):
    grammar = GRAMMARS[name]
    root = drawn(grammar, seed).root
    rewritten = Rewriter(Random(seed)).rule(root)
    assert flow(rewritten, grammar.input) == flow(root, grammar.input)
    keys = [
        canonical_key(Architecture(space="s", root=r), grammar.input) for r in (root, rewritten)
    ]
    assert keys[0] == keys[1]


@given(small_grammars(), seeds)
@settings(max_examples=40)
def test_rewritten_trees_of_small_grammars_keep_their_key(grammar, seed):
    root = drawn(grammar, seed).root
    assert canonical(root, grammar.input) == canonical(
        Rewriter(Random(seed)).rule(root), grammar.input
    )


# Functions: a tree's outputs for all ways to give its layers weights out of a small stock.


def outputs(nodes: tuple[Node, ...], spec: TensorSpec, kinds: tuple[str, ...], stock: int) -> set:
    """What a row of nodes makes of one input, for every choice of weights, as rounded sums."""
    plan, _ = calls(nodes, spec)
    generator = torch.Generator().manual_seed(0)
    x, probe = (torch.rand(1, *spec.shape, generator=generator).double() - 0.3 for _ in range(2))
    network = (sequence_of(plan) if plan else nn.Identity()).double().eval()
    types = tuple(PRIMITIVES[kind].module for kind in kinds)
    layers = [m for m in network.modules() if isinstance(m, types)]
    found = set()
    by_kind = [[i for i, m in enumerate(layers) if isinstance(m, t)] for t in types]
    choices = [list(permutations(range(stock), len(members))) for members in by_kind]
    with torch.no_grad():
        for choice in product(*choices):
            for members, numbers in zip(by_kind, choice, strict=True):
                for member, number in zip(members, numbers, strict=True):
                    _fill(layers[member], number)
            y = network(x)
            found.add((tuple(y.shape), round(float((y * probe[..., : y.shape[-1]]).sum()), 7)))
    return found


def _fill(layer: nn.Module, number: int) -> None:
    generator = torch.Generator().manual_seed(100 + number)
    tensors = [*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point())]
    for tensor in tensors:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)


def tiny_rows() -> list[tuple[Node, ...]]:
    """All small rows of one weighted and one free layer, zeros, identity and what joins."""
    gelu, plain = primitive("activation", "gelu"), primitive("plain", "gelu")
    atoms = [(), (IDENTITY,), (ZERO,), (gelu,), (plain,)]
    pairs = [*atoms, *((*a, *b) for a, b in product(atoms[2:], atoms[2:]))]
    joins = [primitive("residual", children=(row or (IDENTITY,),)) for row in pairs]
    for join, one, other in product(("add", "multiply"), atoms, pairs):
        children = (one or (IDENTITY,), other or (IDENTITY,))
        joins.append(primitive("branch", join, children=children))
    rows = [*pairs, *((join,) for join in joins)]
    for join, atom in product(joins[::3], atoms[2:]):
        rows += [(join, *atom), (*atom, join)]
        rows.append((primitive("branch", "add", children=((join,), atom)),))
        rows.append((primitive("residual", children=((*atom, join),)),))
    edges = [(IDENTITY,), *atoms[2:]]
    rows += [(primitive("dag", children=children),) for children in product(edges, repeat=3)]
    random = Random(0)
    dags = [tuple(random.choice(edges) for _ in range(6)) for _ in range(200)]
    return rows + [(primitive("dag", children=c),) for c in dags if c.count(edges[-1]) < 5]


def test_keys_are_equal_exactly_where_functions_are():
    spec, by_form, by_function = image(2, 2, 2), {}, {}
    for row in tiny_rows():
        function = frozenset(outputs(row, spec, ("plain",), 4))
        key = canonical(Node("net", 0, (), (row,)), spec)
        assert by_form.setdefault(key, function) == function, f"not one function: {key}"
        assert by_function.setdefault(function, key) == key, f"{key} is {by_function[function]}"
    assert len(by_form) > 100


def test_whole_networks_of_one_key_compute_the_same():
    """With batch norm, shapes that change and blocks: weights found again by permutation."""
    texts = (
        "conv(4,3,2) branch(add)[batch_norm; conv(4,1,1) activation(relu); zero] global_pool",
        "conv(4,3,2) identity branch(add)[a:0[conv(4,1,1)] activation(relu) activation(relu); "
        "batch_norm; identity batch_norm zero] mean_pool",
    )
    roots = [from_text(f"net:0[{text}]") for text in texts]
    assert canonical(roots[0], IMAGE) == canonical(roots[1], IMAGE)
    networks = [build(root, IMAGE).eval() for root in roots]
    few, many = (Counter(tuple(v.shape) for v in n.parameters()) for n in networks)
    assert few < many
    kinds = ("conv", "batch_norm")
    results = [outputs(root.flat(), IMAGE, kinds, 3) for root in roots]
    # The second has a batch norm more, which is dead: it only makes others scarce.
    assert results[1] <= results[0]


def test_copies_have_weights_of_their_own():
    root = from_text("net:0[eca*2]")
    first, second = (layer.conv.weight for layer in build(root, IMAGE))
    assert first is not second
    assert form("eca*2") != form("eca")
