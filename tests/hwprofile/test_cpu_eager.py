"""The rules of eager PyTorch on a CPU list what torch's profiler lists."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
import torch
from does import Does
from torch import Tensor, nn
from torch.nn import functional as F

from hwprofile.observed import ran
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.trace import trace


def by_rule(module: nn.Module, *inputs: Tensor, scheme: str = "fp32") -> Counter[tuple[str, int]]:
    kernels = launches(trace(module, *inputs, layout="nchw"), RUNTIMES["cpu-eager"], scheme)
    return Counter(
        (kernel.ops[0], math.prod(kernel.shape) if kernel.ops != ("cat",) else 0)
        for kernel in kernels
    )


def by_torch(module: nn.Module, *inputs: Tensor) -> Counter[tuple[str, int]]:
    return Counter(tuple(found) for found in ran(module, *inputs))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def permuted_norm(x: Tensor, conv: nn.Module, norm: nn.Module, mlp: nn.Module) -> Tensor:
    y = mlp(norm(conv(x).permute(0, 2, 3, 1)))
    return x + y.permute(0, 3, 1, 2)


def attention(x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
    b, n, c = x.shape
    q, k, v = qkv(x).view(b, n, 3, 4, -1).permute(2, 0, 3, 1, 4)
    y = (q @ k.transpose(-2, -1) * 0.5).softmax(-1) @ v
    return out(y.transpose(1, 2).reshape(b, n, c))


def fused_attention(x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
    b, n, c = x.shape
    q, k, v = qkv(x).view(b, n, 3, 4, -1).permute(2, 0, 3, 1, 4)
    return out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


def windows(x: Tensor) -> Tensor:
    q = x.transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q[..., :4]).transpose(1, 2).flatten(2)


def gate(x: Tensor, down: nn.Module, up: nn.Module) -> Tensor:
    return x * torch.sigmoid(up(F.relu(down(x.mean((2, 3), keepdim=True)))))


def conv(c_in: int, c_out: int, k: int = 3, **how: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False, **how),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


EAGER: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution, norm and activation": (
        nn.Sequential(conv(3, 16, stride=2), conv(16, 16, 5, groups=16), nn.MaxPool2d(3, 2, 1)),
        (2, 3, 33, 31),
    ),
    "residual": (Does(lambda x, f: F.gelu(f(x) + x), conv(16, 16)), (1, 16, 24, 24)),
    "depthwise, then a norm of permuted channels": (
        Does(
            permuted_norm,
            nn.Conv2d(16, 16, 7, padding=3, groups=16),
            nn.LayerNorm(16),
            nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)),
        ),
        (2, 16, 12, 12),
    ),
    "a convolution of what a permute left channels-last": (
        Does(
            lambda x, f, g: g(f(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
            nn.LayerNorm(16),
            nn.Conv2d(16, 8, 3),
        ),
        (2, 16, 12, 12),
    ),
    "attention in parts": (Does(attention, nn.Linear(16, 48), nn.Linear(16, 16)), (2, 9, 16)),
    "attention": (Does(fused_attention, nn.Linear(16, 48), nn.Linear(16, 16)), (2, 9, 16)),
    "attention that no kernel serves": (
        Does(lambda x: F.scaled_dot_product_attention(x, x, x[..., :4])),
        (2, 3, 9, 16),
    ),
    "gate": (Does(gate, nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)), (2, 16, 8, 8)),
    "pools": (
        Does(
            lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(F.adaptive_avg_pool2d(x, 4), 2), 1),
        ),
        (2, 16, 8, 8),
    ),
    "joined, shifted and padded": (
        Does(
            lambda x: F.pad(torch.cat([x, x.roll((1, 2), (1, 2))], 1), (1, 1)).chunk(2, 1)[0].exp(),
        ),
        (2, 4, 6),
    ),
    "rows that are not one after the other": (
        Does(
            lambda x, f: f(x[..., :8]) + f(x.transpose(0, 1)[..., :8]).transpose(0, 1),
            nn.Linear(8, 5),
        ),
        (3, 3, 16),
    ),
    "group norm of a part": (Does(lambda x, f: f(x[:, :8]), nn.GroupNorm(2, 8)), (2, 16, 6, 6)),
    "attention with a bias for each head alone": (
        Does(
            lambda x, f: F.scaled_dot_product_attention(x, x, x, f.weight.detach().view(3, 9, 9)),
            nn.Linear(27, 9),
        ),
        (2, 3, 9, 16),
    ),
    "attention with a bias that takes gradients": (
        Does(
            lambda x, f: F.scaled_dot_product_attention(x, x, x, f.weight.view(1, 3, 9, 9)),
            nn.Linear(27, 9),
        ),
        (2, 3, 9, 16),
    ),
    "attention of heads that lie within a row": (
        Does(windows),
        (2, 9, 3, 8),
    ),
    "causal attention in parts": (
        Does(lambda x: F.scaled_dot_product_attention(x, x, x[..., :4], is_causal=True)),
        (2, 3, 9, 16),
    ),
    "attention with truth values": (
        Does(lambda x: F.scaled_dot_product_attention(x, x, x, (x @ x.mT) > 0)),
        (2, 3, 9, 16),
    ),
    "products with a parameter on either side": (
        Does(
            lambda x, f: (f.weight @ x).sum() + (x.mT @ f.weight.t()) + x.mT @ (f.weight * 2).t(),
            nn.Linear(8, 5),
        ),
        (2, 8, 6),
    ),
    "products with one matrix, and spread": (
        Does(lambda x: (x @ x[0, 0].mT).sum() + x[0, 0] @ x.mT + x @ x[:1].mT),
        (2, 3, 8, 6),
    ),
    "types that are the same already": (Does(lambda x: x.exp().type_as(x).float()), (2, 3)),
    "a scale before what it multiplies": (
        Does(lambda x, f: f.weight * x, nn.LayerNorm(6)),
        (2, 3, 6),
    ),
    "padded by nothing": (Does(lambda x: F.pad(x, (0, 0)) + torch.ones_like(x)), (2, 3)),
    "reflected and repeated": (
        nn.Sequential(nn.ReflectionPad2d(1), nn.ReplicationPad2d(2)),
        (1, 4, 5, 5),
    ),
    "transposed convolutions": (
        nn.Sequential(nn.ConvTranspose2d(8, 4, 2, 2), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)),
        (2, 8, 6, 6),
    ),
    "attention whose query lies row by row": (
        Does(lambda x: F.scaled_dot_product_attention(x, x, x).transpose(1, 2).flatten(2)),
        (2, 3, 9, 16),
    ),
    "integers with numbers": (
        Does(lambda x: x * (torch.arange(6) + 1)[None] - (x > 0) / 2.0 + (x > 0).cumsum(1)),
        (3, 6),
    ),
    "a sum over truth values": (
        Does(lambda x: (x > 0).cumsum(1, dtype=torch.float32) * x),
        (2, 3, 6),
    ),
    "what is computed from parameters": (
        Does(lambda x, f: F.linear(x, F.normalize(f.weight)), nn.Linear(8, 8)),
        (2, 3, 8),
    ),
}


@pytest.mark.parametrize("name", EAGER)
def test_the_rules_are_what_the_profiler_lists(name: str) -> None:
    module, shape = EAGER[name]
    module.eval()
    image = torch.randn(shape)
    assert by_rule(module, image) == by_torch(module, image)


LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "row-major": ((2, 8, 6, 6), lambda x: x),
    "channels-last": ((2, 6, 6, 8), lambda x: x.permute(0, 3, 1, 2)),
    "one image of tokens": ((1, 36, 8), lambda x: x.transpose(1, 2).unflatten(2, (6, 6))),
    "half of the channels": ((2, 16, 6, 6), lambda x: x[:, :8]),
    "half of the channels, last": ((2, 6, 6, 16), lambda x: x[..., :8].permute(0, 3, 1, 2)),
    "turned": ((2, 8, 6, 6), lambda x: x.transpose(2, 3)),
    "cropped": ((2, 8, 7, 7), lambda x: x[:, :, 1:, 1:]),
    "spread": ((2, 6, 6, 1), lambda x: x.permute(0, 3, 1, 2).expand(2, 8, 6, 6)),
    "one pixel": ((2, 1, 1, 8), lambda x: x.permute(0, 3, 1, 2)),
}
ON_IMAGES: dict[str, nn.Module] = {
    "convolution": nn.Conv2d(8, 4, 3, padding=1),
    "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "transposed": nn.ConvTranspose2d(8, 4, 2, 2),
    "batch norm": nn.BatchNorm2d(8),
    "group norm": nn.GroupNorm(2, 8),
    "layer norm": Does(lambda x, f: f(x.permute(0, 2, 3, 1)), nn.LayerNorm(8)),
    "root mean square": Does(lambda x, f: f(x.permute(0, 2, 3, 1)), nn.RMSNorm(8)),
    "activation": nn.GELU(),
    "pool": nn.AvgPool2d(3, 1, 1),
    "adaptive pool": nn.AdaptiveAvgPool2d(3),
    "soft-max": nn.Softmax(1),
    "shift": Does(lambda x: x.roll((1, 1), (2, 3))),
    "gate": Does(lambda x: x * x.mean((2, 3), keepdim=True)),
    "sum with another order": Does(lambda x: x + x.contiguous()),
    "pixels": nn.PixelShuffle(2),
    "channels": nn.ChannelShuffle(2),
    "tokens": Does(lambda x, f: f(x.flatten(2).mT), nn.Linear(8, 4)),
    "windows": nn.Unfold(3, padding=1),
}


@pytest.mark.parametrize("name", ON_IMAGES)
def test_images_in_any_order_are_copied_and_left_as_torch_does(name: str) -> None:
    for layout, (shape, lay) in LAYOUTS.items():
        module = Does(lambda x, f, lay=lay: f(lay(x)), ON_IMAGES[name]).eval()
        given = torch.randn(shape)
        if name == "pool" and layout == "one pixel":
            continue
        assert by_rule(module, given) == by_torch(module, given), layout
        record = trace(module, given, layout="nchw")
        (made,) = record.outputs
        pairs = [zip(c.outputs, c.output_strides, strict=True) for c in record.calls]
        found = dict(pair for call in pairs for pair in call)
        with torch.inference_mode():
            out = module(given)
        wanted = zip(out.shape, out.stride(), found[made], strict=True)
        assert all(a == b for n, a, b in wanted if n > 1), layout


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("batch", [1, 2, 16])
def test_groups_are_taken_apart_where_threads_and_batch_have_torch_do_so(
    count: int, groups: int, batch: int, threads: Callable[[int], None]
) -> None:
    threads(count)
    image = torch.randn(batch, 8, 5, 5)
    last = image.contiguous(memory_format=torch.channels_last)
    for how in ({}, {"stride": 2}, {"dilation": 2, "kernel_size": 3}, {"kernel_size": 3}):
        settings = {"kernel_size": 1, **how}
        module = nn.Conv2d(8, 8, groups=groups, **settings).eval()
        assert by_rule(module, image) == by_torch(module, image), settings
        turned = Does(lambda x, f: f(x.permute(0, 3, 1, 2)), module)
        rows = last.permute(0, 2, 3, 1)
        assert by_rule(turned, rows) == by_torch(turned, rows), settings


def test_16_bits_cast_means_and_may_take_groups_apart() -> None:
    module = nn.Sequential(nn.Conv2d(16, 16, 3, groups=4), nn.AdaptiveAvgPool2d(1)).bfloat16()
    image = torch.randn(1, 16, 32, 32).bfloat16()
    found = by_rule(module, image, scheme="bf16")
    assert found == by_torch(module, image)
    assert sum(n for (op, _), n in found.items() if op in ("copy", "sum", "div")) == 5


@pytest.mark.parametrize("name", [name for name in EAGER if "attention" in name])
def test_attention_of_16_bits_is_cast_where_it_is_taken_apart(name: str) -> None:
    module, shape = EAGER[name]
    image = torch.randn(shape).bfloat16()
    # A copy, as the module is used in 32 bits too.
    narrow = deepcopy(module).eval().bfloat16()
    assert by_rule(narrow, image, scheme="bf16") == by_torch(narrow, image)


def test_an_embedding_looks_up_rows() -> None:
    module = nn.Embedding(100, 8)
    index = torch.zeros(2, 5, dtype=torch.long)
    (kernel,) = launches(trace(module, index, layout="nchw"), RUNTIMES["cpu-eager"], "fp32")
    assert [kernel.ops[0]] == [found.op for found in ran(module, index)]
    assert (kernel.weight_bytes, kernel.write_bytes) == (2 * 5 * 8 * 4, 2 * 5 * 8 * 4)


class Keeps(nn.Module):
    """Keeps what it computes from a parameter, for later forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.kept = nn.Parameter(torch.randn(4, 6)), {}
        self.index: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if "bias" not in self.kept:
            self.kept["bias"] = self.bias[:, [0, 2, 4]]
        if self.index is None:
            self.index = torch.ones(3, device=x.device).cumsum(0)
        return x + self.kept["bias"] * self.index


def test_what_a_module_keeps_is_not_computed_again_and_not_left_behind() -> None:
    module, image = Keeps(), torch.randn(4, 3)
    expected = by_rule(module, image)
    assert (module.kept, module.index) == ({}, None)
    assert expected == by_torch(module, image) == {("mul", 12): 1, ("add", 12): 1}
