"""A larger network computes what the smaller one did, to rounding: by running both."""

import pytest
import torch
from grown import assert_same

from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.morph import MorphError, transfer
from searchspace.shapes import TensorSpec, image
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = image(4, 6, 6)
TOKENS = TensorSpec("tokens", (9, 8))


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
