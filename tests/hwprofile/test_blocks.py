"""Costs put together block by block against the whole network, built and traced at once."""

from functools import cache
from itertools import count
from math import prod
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import drawn, seeds, small_grammars
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hwprofile.blocks import BlockTable, block_names
from hwprofile.fuse import fuse
from hwprofile.liveness import peak_bytes
from hwprofile.runtime import RUNTIMES
from hwprofile.targets import get_target
from hwprofile.trace import trace
from predictors.latency import LatencyPredictor
from searchspace.build import Part, build, calls, module_of, plan, sequence_of
from searchspace.shapes import ShapeError, image
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.tree import units, walk


@cache
def grammar():
    limits = {"width": (32, 64), "depth": (1, 2)}
    return load_space("conv_large_kernel", classes=10, limits=limits)


SPEC = image(3, 64, 64)


def drawn_without(symbol, seed):
    """A tree that does not hold a primitive, drawn from the first seed on that gives one."""
    roots = (drawn(grammar(), s).root for s in count(seed))
    return next(r for r in roots if all(node.symbol != symbol for _, node in walk(r)))


def merged_network(root, spec):
    """The whole network in the form that runs at inference."""
    with torch.device("meta"):
        plan, _ = calls((root,), spec)
        return nn.Sequential(*(module_of(call, merged=True) for call in plan)).eval()


def peaks(root, spec, batch):
    """Peak memory in eager mode: of the blocks, and of the network as it is built, in fp16."""
    costs = BlockTable(spec, batch=batch, runtime=RUNTIMES["eager"]).costs(root)
    with torch.device("meta"):
        network = nn.Sequential(*map(merged_part, plan(root, spec))).eval()
    whole = trace(network, (batch, *spec.shape))
    largest = max(batch * 2 * prod(block.entered.shape) for block in costs.blocks)
    return costs.peak_bytes, peak_bytes(whole, 2), largest


def merged_part(part):
    if part.content and not any(isinstance(p, Part) for p in part.content):
        return sequence_of(part.content, merged=True)
    return nn.Sequential(*map(merged_part, part.content))


def whole_trace(root, spec, batch):
    return trace(merged_network(root, spec), (batch, *spec.shape))


@given(seeds, st.sampled_from((1, 3)))
@settings(max_examples=6)
def test_costs_are_those_of_the_whole_network(seed, batch):
    # Torch's counter counts what spaced_conv computes of its weights alone; that is done once.
    root = drawn_without("spaced_conv", seed)
    costs = BlockTable(SPEC, batch=batch).costs(root)
    with torch.device("meta"):
        trained = build(root, SPEC)
    assert costs.params == sum(parameter.numel() for parameter in trained.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        merged_network(root, SPEC)(torch.empty(batch, *SPEC.shape, device="meta"))
    assert 2 * batch * costs.macs == counter.get_total_flops()
    whole = whole_trace(root, SPEC, batch)
    assert batch * costs.macs == whole.macs
    blocks, network, largest = peaks(root, SPEC, batch)
    # Beside them a row of blocks holds what it is given.
    assert blocks <= network <= blocks + largest


@given(small_grammars(), seeds)
@settings(max_examples=10)
def test_costs_of_any_grammar_are_those_of_the_whole_network(grammar, seed):
    root = drawn(grammar, seed).root
    if sum(1 for _ in units(root)) > 60:
        return
    costs = BlockTable(grammar.input, precision="fp32").costs(root)
    whole = whole_trace(root, grammar.input, 1)
    assert costs.macs == whole.macs
    with torch.device("meta"):
        trained = build(root, grammar.input)
    assert costs.params == sum(parameter.numel() for parameter in trained.parameters())


@given(seeds)
@settings(max_examples=6)
def test_blocks_apart_take_at_least_as_long_as_fused_across_their_borders(seed):
    root, target = drawn(grammar(), seed).root, get_target("a100")
    costs = BlockTable(SPEC).costs(root)
    whole = fuse(whole_trace(root, SPEC, 1), "fp16")
    together = sum(target.price(kernel).value for kernel in whole)
    apart = LatencyPredictor(target).latency(costs).value
    assert together <= apart * (1 + 1e-9)
    assert len(whole) <= sum(len(block.kernels) for block in costs.blocks)
    # Only joints between blocks can fuse further, so little is lost.
    assert apart <= 1.25 * together


@given(seeds)
@settings(max_examples=4)
def test_larger_batches_scale_what_flows_and_nothing_else(seed):
    # In a batch of one dct_mixer's bands lie as its products want them, and need no copy.
    root = drawn_without("dct_mixer", seed)
    one, eight = (BlockTable(SPEC, batch=batch).costs(root) for batch in (1, 8))
    assert eight.peak_bytes == 8 * one.peak_bytes
    assert (eight.macs, eight.params) == (one.macs, one.params)
    for small, large in zip(one.blocks, eight.blocks, strict=True):
        pairs = zip(small.kernels, large.kernels, strict=True)
        for a, b in pairs:
            assert b.weight_bytes == a.weight_bytes
            assert b.flops == 8 * a.flops


def test_precision_decides_bytes_alone():
    root = drawn(grammar(), 3).root
    half, full = (BlockTable(SPEC, precision=p).costs(root) for p in ("fp16", "fp32"))
    assert full.peak_bytes == 2 * half.peak_bytes
    assert (full.macs, full.params) == (half.macs, half.params)
    with pytest.raises(ValueError, match="fp32, fp16, bf16, tf32; got 'w8a8'"):
        BlockTable(SPEC, precision="w8a8")


def weights_of(root, scheme, precision="fp16"):
    schemed = from_text(root.replace("@float", f"@{scheme}"))
    return BlockTable(SPEC, precision=precision).costs(schemed).weight_bytes


def test_weights_count_as_their_schemes_store_them():
    # A 1x1 convolution from 3 to 16 channels, with the bias that its batch norm leaves, in fp16.
    root = "n:0[b:0@float[conv(16,1,1); batch_norm]]"
    assert weights_of(root, "float", "fp32") == 4 * (48 + 16)
    assert weights_of(root, "float") == 2 * (48 + 16)
    assert weights_of(root, "w8") == weights_of(root, "w8a8") == 48 + 2 * 16
    assert weights_of(root, "w4") == 24 + 2 * 16


@given(seeds)
@settings(max_examples=4)
def test_weights_add_up_over_blocks_and_shrink_with_fewer_bits(seed):
    text = drawn(grammar(), seed).text
    found = [weights_of(text, scheme) for scheme in ("float", "w8", "w4")]
    assert found == sorted(found, reverse=True)
    costs = BlockTable(SPEC).costs(from_text(text))
    assert costs.weight_bytes == sum(block.weight_bytes for block in costs.blocks)


def test_equal_blocks_are_found_once_and_handed_out_as_they_are():
    table, random = BlockTable(SPEC), Random(0)
    first = drawn(grammar(), random.getrandbits(32)).root
    again = from_text(_text(first))
    assert again is not first
    assert all(
        a is b for a, b in zip(table.costs(first).blocks, table.costs(again).blocks, strict=True)
    )
    repeated = from_text("n:0[a:0[b:0@float[depthwise(3)]*3]]")
    blocks = BlockTable(image(8, 8, 8)).costs(repeated).blocks
    assert blocks[0] is blocks[1] is blocks[2]
    assert BlockTable(image(8, 8, 8)).costs(repeated).blocks[0] is not blocks[0]


def _text(root):
    from searchspace.text import to_text

    return to_text(root)


def test_the_scheme_and_the_shape_make_another_block():
    table = BlockTable(image(8, 8, 8))
    roots = [from_text(f"n:0[b:0@{scheme}[depthwise(3)]]") for scheme in ("float", "w8a8")]
    blocks = [table.costs(root).blocks[0] for root in roots]
    assert [block.scheme for block in blocks] == ["fp16", "w8a8"]
    assert {kernel.scheme for kernel in blocks[1].kernels} >= {"w8a8"} - {
        kernel.scheme for kernel in blocks[0].kernels
    }
    down = from_text(
        "n:0[b:0@float[max_pool(3)]; d:0@float[strided_conv(8,2)]; b:0@float[max_pool(3)]]"
    )
    first, _, last = table.costs(down).blocks
    assert (first.left, last.left) == (image(8, 8, 8), image(8, 4, 4))
    assert first is not last


@given(seeds)
@settings(max_examples=5)
def test_names_of_blocks_lead_to_their_modules(seed):
    root = drawn(grammar(), seed).root
    names = list(block_names(root, SPEC))
    costs = BlockTable(SPEC).costs(root)
    assert len(names) == len(set(names)) == len(costs.blocks)
    with torch.device("meta"):
        network = build(root, SPEC)
    params = [sum(p.numel() for p in network.get_submodule(n).parameters()) for n in names]
    assert params == [block.params for block in costs.blocks]


def test_a_shape_that_does_not_fit_names_its_place():
    root = from_text("net:0[head:0@float[global_pool; depthwise(3)]]")
    with pytest.raises(ShapeError, match="head"):
        BlockTable(image(4, 8, 8)).costs(root)


def test_bodies_that_see_a_part_and_are_built_several_times_cost_what_the_whole_costs():
    spec = image(8, 12, 10)
    text = (
        "net:0[fork_copies(4,group1,concat1)[windows(3,1)[last_linear(16)] mode_norm]; "
        "fork(group2,add)[fork_copies(8,clone,add)[learned_position]; last_softmax]; "
        "to_tokens; fork(clone,dot)[fork(clone,scaled_dot)[last_linear(8); last_linear(8) "
        "permute(dn)]; identity]]"
    )
    root = from_text(text)
    costs = BlockTable(spec, batch=2).costs(root)
    whole = whole_trace(root, spec, 2)
    assert 2 * costs.macs == whole.macs
    with torch.device("meta"):
        trained = build(root, spec)
    assert costs.params == sum(parameter.numel() for parameter in trained.parameters())
    assert costs.params == 4 * (18 * 16 + 16 + 32) + 8 * 64 * 6 * 10 + 2 * (64 * 8 + 8)
    blocks, network, _ = peaks(root, spec, 2)
    assert blocks == network
