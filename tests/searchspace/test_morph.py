"""A larger network computes what the smaller one did, to rounding: by running both."""

import copy
from functools import cache
from random import Random

import pytest
import torch
from strategies import drawn
from torch import nn

from searchspace.architecture import Architecture
from searchspace.build import build, flow
from searchspace.check import check
from searchspace.grammar import Grammar
from searchspace.layouts import LAYOUTS
from searchspace.morph import Morph, MorphError, morphs, transfer
from searchspace.primitives import PRIMITIVES
from searchspace.read import read_grammar
from searchspace.shapes import ShapeError, TensorSpec, image
from searchspace.space import load_space
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = image(4, 6, 6)
TOKENS = TensorSpec("tokens", (9, 8))


@pytest.fixture(scope="module")
def one_thread():
    """The networks are so small that threads would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lively(network: nn.Module) -> nn.Module:
    """The network in double precision with weights and statistics that matter."""
    generator = torch.Generator().manual_seed(1)

    def noise(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator).to(tensor)

    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * noise(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * noise(buffer))
            if name.endswith("running_var"):
                buffer.copy_(noise(buffer).abs() + 0.5)
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def assert_same(old: Architecture, new: Architecture, spec: TensorSpec) -> None:
    """Both in evaluation and training; afterwards the statistics agree too."""
    torch.manual_seed(0)
    network = lively(build(old.root, spec))
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    larger = transfer(old, new, spec, network)
    assert parameters(larger) > parameters(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    for training in (False, True, False):
        larger.train(training)
        network.train(training)
        with torch.no_grad():
            torch.testing.assert_close(larger(x), network(x), rtol=1e-9, atol=1e-9)


def tree(text: str) -> Architecture:
    return Architecture(space="s", root=from_text(f"net:0[{text}]"))


@pytest.mark.parametrize(
    ("old", "new", "spec"),
    [
        # Kernels.
        ("depthwise(3)", "depthwise(7)", IMAGE),
        ("unbiased_depthwise(3)", "unbiased_depthwise(5)", IMAGE),
        ("conv(6,1,1)", "conv(6,5,1)", IMAGE),
        ("conv(6,3,2)", "conv(6,7,2)", IMAGE),
        ("grouped_conv(4,3,2,2)", "grouped_conv(4,5,2,2)", IMAGE),
        ("dilated_conv(3,2)", "dilated_conv(5,2)", IMAGE),
        ("weighted_conv(6,3,1)", "weighted_conv(6,7,1)", IMAGE),
        ("inception_depthwise(3)", "inception_depthwise(7)", image(16, 9, 9)),
        ("conv_tokens(6,3,1)", "conv_tokens(6,5,1)", IMAGE),
        *(
            (
                f"nasnet_cell(2,4,4,{stride},1,0,{before})",
                f"nasnet_cell(2,4,4,{stride},1,0,{after})",
                IMAGE,
            )
            for stride in (1, 2)
            for before, after in (
                (
                    "0,conv1,1,separable3,0,conv1x3,2,max3,3,separable5,1,conv1,"
                    "2,identity,4,dilated3,5,separable3,0,average3",
                    "0,conv3,1,separable7,0,conv1x7,2,max3,3,separable7,1,conv3,"
                    "2,identity,4,dilated3,5,separable5,0,average3",
                ),
            )
        ),
        *(
            (f"dilated_reparam({a})", f"dilated_reparam({b})", image(3, 18, 18))
            for a, b in ((5, 7), (7, 9), (9, 11), (11, 13), (5, 13))
        ),
        # Hidden units, of which some have a copy more.
        ("inverted(1,gelu)", "inverted(3,gelu)", IMAGE),
        ("inverted(2,silu)", "inverted(3,silu)", IMAGE),
        ("inverted_response(1,gelu)", "inverted_response(2,gelu)", IMAGE),
        ("excite(3,relu,sigmoid)", "excite(5,relu,sigmoid)", IMAGE),
        ("token_mlp(1,gelu)", "token_mlp(2,gelu)", TOKENS),
        ("mixer_mlp(3,gelu)", "mixer_mlp(7,gelu)", TOKENS),
        # Channels, through all that reads them.
        ("conv(6,3,1) batch_norm conv(4,1,1)", "conv(9,3,1) batch_norm conv(4,1,1)", IMAGE),
        (
            "conv(6,1,1) batch_norm activation(gelu) grouped_conv(6,3,1,1) squeeze_excite(2) "
            "max_pool(3) conv(3,1,1)",
            "conv(8,1,1) batch_norm activation(gelu) grouped_conv(8,5,1,1) squeeze_excite(2) "
            "max_pool(3) conv(3,1,1)",
            IMAGE,
        ),
        (
            "strided_conv(4,2) residual[depthwise(3) layer_norm inverted(2,gelu) layer_scale] "
            "branch(concat)[identity; conv(3,3,1)] batch_norm global_pool classifier(2)",
            "strided_conv(8,2) residual[depthwise(3) layer_norm inverted(2,gelu) layer_scale] "
            "branch(concat)[identity; conv(5,3,1)] batch_norm global_pool classifier(2)",
            IMAGE,
        ),
        (
            "branch(add)[conv(6,1,1); conv(6,3,1) bias] plain(relu) pointwise conv(3,1,1)",
            "branch(add)[conv(7,1,1); conv(7,3,1) bias] plain(relu) pointwise conv(3,1,1)",
            IMAGE,
        ),
        (
            "patch_tokens(8,2) class_token position residual[layer_norm attention(2)] "
            "residual[layer_norm token_mlp(2,gelu)] rms_norm token_pool(sequence) classifier(3)",
            "patch_tokens(16,2) class_token position residual[layer_norm attention(4)] "
            "residual[layer_norm token_mlp(2,gelu)] rms_norm token_pool(sequence) classifier(3)",
            IMAGE,
        ),
        (
            "patch_tokens(4,1) residual[linear_attention(1)] residual[unbiased_attention(1)] "
            "to_image window_attention(1,2) to_tokens linear(3)",
            "patch_tokens(12,1) residual[linear_attention(3)] residual[unbiased_attention(3)] "
            "to_image window_attention(3,2) to_tokens linear(3)",
            IMAGE,
        ),
        (
            "last_linear(6) mode_norm learned_position last_linear(5)",
            "last_linear(12) mode_norm learned_position last_linear(5)",
            TOKENS,
        ),
        # New layers.
        (
            "eca residual[conv(4,3,1)]",
            "eca residual[conv(4,3,1)] residual[depthwise(3) eca]",
            IMAGE,
        ),
        ("eca", "residual[bias batch_norm activation(relu)] eca", IMAGE),
        (
            "activation(relu) eca",
            "activation(relu) branch(add)[conv(4,3,1) batch_norm; identity] activation(relu) eca",
            IMAGE,
        ),
        ("batch_norm conv(3,1,1)", "batch_norm squeeze_excite(1) conv(3,1,1)", IMAGE),
        ("depthwise(3) bias", "eca depthwise(3) bias", IMAGE),
        ("inverted(1,gelu) layer_scale", "inverted(1,gelu) eca layer_scale", IMAGE),
        ("excite(2,gelu,hardsigmoid)", "excite(2,gelu,hardsigmoid) residual[pointwise]", IMAGE),
        # New branches.
        ("conv(4,3,1) bias", "branch(add)[conv(4,3,1); max_pool(3) conv(4,1,1)] bias", IMAGE),
        ("last_linear(5)", "fork(clone,add)[last_linear(5); last_linear(5)]", TOKENS),
        (
            "dag[conv(4,3,1); zero; bias]",
            "dag[conv(4,3,1); activation(relu) conv(4,1,1) batch_norm; bias]",
            IMAGE,
        ),
        # Inside of what is opaque.
        (
            "windows(3,1)[last_linear(5) last_linear(4)]",
            "windows(3,1)[last_linear(7) last_linear(4)]",
            IMAGE,
        ),
        (
            "reversible_columns(2)[inverted(1,gelu); bias]",
            "reversible_columns(2)[inverted(2,gelu); bias]",
            IMAGE,
        ),
    ],
)
def test_the_larger_one_computes_the_same(old, new, spec):
    assert_same(tree(old), tree(new), spec)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("depthwise(5)", "depthwise(3)", "the kernel of 'depthwise' must not go from 5 to 3"),
        ("conv(6,2,2)", "conv(6,4,2)", "the kernel of 'conv' must not"),
        ("conv(6,2,2)", "conv(6,3,2)", "the kernel of 'conv' must not"),
        ("conv(6,3,1)", "conv(6,3,2)", "the stride of 'conv' must not"),
        ("max_pool(3)", "max_pool(5)", "'max_pool' must stay as it is"),
        ("dilated_reparam(13)", "dilated_reparam(15)", "no branch of dilation 4 to go on with"),
        ("inverted(1,gelu)", "inverted(2,relu)", "the act of 'inverted' must not"),
        ("inverted_response(2,gelu)", "inverted_response(3,gelu)", "equally many copies"),
        ("eca", "bias", "the layers do not follow from those that were there"),
        ("conv(6,1,1) layer_norm", "conv(8,1,1) layer_norm", "all as often"),
        ("conv(6,1,1) shift", "conv(12,1,1) shift", "'shift' must stay as it is"),
        ("conv(6,1,1) eca", "conv(12,1,1) eca", "'eca' must stay as it is"),
        ("conv(6,1,1)", "conv(8,1,1)", "the outputs differ"),
        ("conv(4,1,1) grouped_conv(4,3,1,2)", "conv(8,1,1) grouped_conv(8,3,1,2)", "each channel"),
        (
            "residual[conv(4,1,1)]",
            "residual[conv(4,1,1) conv(4,1,1)]",
            "a new 'conv' does not pass",
        ),
        ("eca", "eca residual[bias activation(sigmoid)]", "must end in a layer"),
        ("eca", "eca activation(relu)", "a new 'activation' does not pass on"),
        ("activation(gelu)", "activation(gelu) activation(gelu)", "a new 'activation' does not"),
        ("bias batch_norm", "bias eca batch_norm", "'batch_norm' must stay as it is"),
        ("bias", "bias eca", "the outputs differ"),
        ("conv(6,1,1)", "fork_copies(4,clone,add)[conv(6,1,1)]", "do not follow"),
        ("eca bias", "branch(multiply)[eca bias; bias]", "do not follow"),
        ("conv(4,1,1)", "branch(add)[conv(4,1,1); eca activation(sigmoid)]", "must end in a layer"),
        (
            "patch_tokens(8,2) attention(1) linear(3)",
            "patch_tokens(16,2) attention(1) linear(3)",
            "heads of 'attention' must keep their width",
        ),
        ("strided_max_pool(2,2) windows(1,1)[bias]", "windows(1,1)[bias] eca", "not become|follow"),
    ],
)
def test_what_cannot_be_kept_is_refused(old, new, reason):
    with pytest.raises(MorphError, match=reason):
        transfer(tree(old), tree(new), IMAGE, build(tree(old).root, IMAGE))


def test_weights_may_be_a_state_and_must_be_those_of_the_smaller_one():
    old, new = tree("conv(4,3,1)"), tree("conv(4,5,1)")
    network = build(old.root, IMAGE)
    x = torch.randn(2, *IMAGE.shape)
    larger = transfer(old, new, IMAGE, network.state_dict())
    assert not transfer(old, new, IMAGE, network.eval()).training
    torch.testing.assert_close(larger(x), network(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        transfer(old, new, IMAGE, build(new.root, IMAGE).state_dict())


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_copies_of_units_learn_apart(optimiser):
    torch.manual_seed(0)
    old = tree("conv(6,3,1) batch_norm activation(relu) inverted(1,gelu) global_pool classifier(2)")
    new = tree("conv(9,3,1) batch_norm activation(relu) inverted(1,gelu) global_pool classifier(2)")
    network = transfer(old, new, IMAGE, build(old.root, IMAGE).double())
    weights = dict(network.named_parameters())
    wide = [weights["conv.conv.weight"], weights["inverted.expand.weight"]]
    assert all(torch.equal(weight[:3], weight[6:]) for weight in wide)
    steps = optimiser(network.parameters(), lr=0.01)
    for _ in range(3):
        steps.zero_grad()
        y = network(torch.randn(4, *IMAGE.shape, dtype=torch.float64))
        (y - 1).square().mean().backward()
        steps.step()
    assert all((weight[:3] - weight[6:]).abs().max() > 1e-9 for weight in wide)


def test_every_layout_names_tensors_of_its_layer_axis_by_axis():
    for name, layout in LAYOUTS.items():
        names = [p.name for p in PRIMITIVES[name].parameters]
        assert set(layout.grows) <= set(names), name
        assert all(set(letters) <= set("oichs23kd.") for letters in layout.weights.values()), name


SPACES = {
    # Space: what makes its networks small, the kinds that it allows.
    "conv_large_kernel": (
        {"width": (32, 64), "half": (16, 32), "depth": (1, 2), "kernel": (3, 7), "band": (7, 11)},
        {"kernel", "width", "depth"},
    ),
    "conv_resnet": (
        {
            **{"width": (32, 64), "mid": (16, 32), "more": (0, 2)},
            **{"even": (32, 48), "fine": (16, 32), "inner": (64, 96), "deep": (0, 2)},
        },
        {"kernel", "width", "depth"},
    ),
    "mobile": (
        {"width": (8, 24), "hidden": (8, 64), "more": (0, 2)},
        {"kernel", "width", "depth"},
    ),
    "vit": ({"heads": (1, 2), "depth": (1, 2), "mix": (64, 128)}, {"kernel", "width", "depth"}),
    "hybrid": ({"heads": (1, 2), "cross": (2, 3), "depth": (1, 2)}, {"kernel", "width", "depth"}),
    "nasbench201": ({}, {"kernel", "branch"}),
    "einspace": ({}, {"depth", "branch"}),
    # Fixed but for the places of the pools.
    "pooling": ({}, set()),
    "nasnet": ({"quarter": (4, 4), "depth": (0, 1), "drop": (0, 0)}, {"kernel"}),
}


SIZES = {"vit": 32, "hybrid": 32, "einspace": 32, "nasnet": 64}
"""Pixels in a row of their inputs; 16 for the others.

NASNet halves five times, and batch norms of a pixel or two in training would magnify rounding.
"""


@cache
def found(name: str) -> tuple[Grammar, TensorSpec, dict[str, tuple[Architecture, Morph]]]:
    """Of every kind that some trees of a space allow, one morph."""
    limits, _ = SPACES[name]
    grammar = load_space(name, classes=3, limits=limits)
    spec = image(3, SIZES.get(name, 16), SIZES.get(name, 16))
    kinds: dict[str, tuple[Architecture, Morph]] = {}
    for seed in range(40):
        if set(kinds) >= SPACES[name][1] and seed > 2:
            break
        architecture = drawn(grammar, seed)
        try:
            flow(architecture.root, spec)
        except ShapeError:
            continue
        offers = morphs(grammar, architecture, spec)
        for kind in {offer.kind for offer in offers} - set(kinds):
            chosen = [offer for offer in offers if offer.kind == kind]
            kinds[kind] = architecture, Random(seed).choice(chosen)
    return grammar, spec, kinds


@pytest.mark.parametrize("name", SPACES)
def test_every_kind_on_every_space(name):
    grammar, spec, kinds = found(name)
    assert set(kinds) == SPACES[name][1]
    for architecture, morph in kinds.values():
        check(grammar, morph.architecture.root)
        assert morph.place.startswith(grammar.start)
        assert_same(architecture, morph.architecture, spec)


def test_all_that_is_offered_for_a_tree():
    grammar = read_grammar(
        "space s : image[3, 8, 8] -> classes[2]\n"
        "domain width = 8 | 12 | 16\ndomain depth = 1 .. 2\ndomain kernel = 3 | 5\n"
        "domain ratio = 1 | 2\n"
        "net -> conv(w, 3, 1) batch_norm block ^ depth gate pointwise head with w : width\n"
        "block -> residual(depthwise(kernel) batch_norm inverted(ratio, gelu))\n"
        "gate -> identity | squeeze_excite(1) | max_pool(3)\n"
        "head -> global_pool classifier(classes)\n"
    )
    text = (
        "net:0(8)[conv(8,3,1); batch_norm; block:0[residual[depthwise(3) batch_norm "
        "inverted(1,gelu)]]; gate:0[identity]; pointwise; head:0[global_pool; classifier(2)]]"
    )
    architecture = Architecture(space="s", root=from_text(text))
    check(grammar, architecture.root)
    offers = morphs(grammar, architecture)
    assert sorted((o.kind, o.place, o.change) for o in offers) == [
        ("depth", "net/block", "1 -> 2"),
        ("depth", "net/gate", "alternative 0 -> 1"),
        ("kernel", "net/block/residual/depthwise", "kernel 3 -> 5"),
        ("width", "net", "w 8 -> 12"),
        ("width", "net", "w 8 -> 16"),
        ("width", "net/block/residual/inverted", "ratio 1 -> 2"),
    ]
    for offer in offers:
        assert_same(architecture, offer.architecture, grammar.input)


def test_copies_that_must_be_the_same_change_together():
    grammar = read_grammar(
        "space s : image[3, 8, 8] -> classes[2]\ndomain n = 2 | 3\ndomain kernel = 3 | 5\n"
        "net -> body ^^ n global_pool classifier(classes)\nbody -> residual(depthwise(kernel))\n"
    )
    architecture = drawn(grammar, 0)
    if architecture.root.children[0][0].children[0][0].children[0][0].values == (5,):
        architecture = next(a for a in (drawn(grammar, s) for s in range(50)) if "(3)" in a.text)
    for offer in morphs(grammar, architecture):
        check(grammar, offer.architecture.root)
        assert len(set(offer.architecture.root.children[0])) == 1
        assert_same(architecture, offer.architecture, grammar.input)


@pytest.mark.parametrize("name", ["conv_large_kernel", "vit", "einspace", "nasbench201"])
def test_morphs_in_a_row(name):
    """A network can grow step by step, and go on in training as the first one does."""
    grammar, spec, kinds = found(name)
    random, (architecture, _) = Random(3), next(iter(kinds.values()))
    torch.manual_seed(0)
    network = first = lively(build(architecture.root, spec))
    x = torch.randn(2, *spec.shape, dtype=torch.float64)
    sizes = [parameters(first)]
    for _ in range(3):
        offers = morphs(grammar, architecture, spec)
        if not offers:
            break
        offer = random.choice(offers)
        network = transfer(architecture, offer.architecture, spec, network)
        architecture = offer.architecture
        sizes.append(parameters(network))
        with torch.no_grad():
            torch.testing.assert_close(network(x), first(x), rtol=1e-9, atol=1e-9)
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 1
    torch.testing.assert_close(network.eval()(x), first.eval()(x), rtol=1e-9, atol=1e-9)
