from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hwprofile.fuse import fuse
from hwprofile.kernel import FAMILIES, SCHEMES, Kernel
from hwprofile.trace import Hole, trace

SHAPE = (2, 64, 14, 14)
IMAGE = 2 * 64 * 14 * 14
ROWS = 2 * 14 * 14


class ConvNeXt(nn.Module):
    """Depthwise convolution, norm and two linear layers on channels-last, scale, residual."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def unit(c_in: int, c_out: int, k: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers = [
        nn.Conv2d(c_in, c_out, k, padding=k // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
        *([nn.ReLU(inplace=True)] if act else []),
    ]
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(64, 16), unit(16, 16, 3), unit(16, 64, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x)


class SqueezeExcite(nn.Module):
    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(dim, 16, 1), nn.Conv2d(16, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(F.relu(self.down(self.pool(x)))))


class Inception(nn.Module):
    """InceptionNeXt's mixer: most channels pass, three groups are convolved by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 8, (1, 11), padding=(0, 5), groups=8)
        self.tall = nn.Conv2d(8, 8, (11, 1), padding=(5, 0), groups=8)

    def forward(self, x: Tensor) -> Tensor:
        rest, a, b, c = x.split([40, 8, 8, 8], 1)
        return torch.cat([rest, self.square(a), self.wide(b), self.tall(c)], 1)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(64, 256), unit(256, 256, 3, 256), SqueezeExcite(256), unit(256, 64, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Transformer(nn.Module):
    def __init__(self, dim: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(dim), heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(self.norm(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv.unbind(0))
        return x + self.out(y.transpose(1, 2).reshape(b, n, c))


def told(kernels: tuple[Kernel, ...]) -> list[tuple[str, str]]:
    return [(k.op, k.detail) for k in kernels]


def kernels_of(module: nn.Module, shape: tuple[int, ...] = SHAPE, scheme: str = "fp16") -> list:
    return list(fuse(trace(module, shape), scheme))


EXPECTED = [
    (
        ConvNeXt(),
        SHAPE,
        [
            ("depthwise_conv2d", "convolution"),
            ("layer_norm", "layer_norm"),
            ("gemm", "linear+gelu"),
            ("gemm", "linear+mul+add"),
        ],
    ),
    (
        Bottleneck(),
        SHAPE,
        [
            ("gemm", "convolution+batch_norm+relu"),
            ("conv2d", "convolution+batch_norm+relu"),
            ("gemm", "convolution+batch_norm+add+relu"),
        ],
    ),
    (
        SqueezeExcite(),
        SHAPE,
        [
            ("reduce", "adaptive_avg_pool2d"),
            ("gemm", "convolution+relu"),
            ("gemm", "convolution+sigmoid"),
            ("elementwise", "mul"),
        ],
    ),
    (Inception(), SHAPE, [*[("depthwise_conv2d", "convolution")] * 3, ("copy", "cat")]),
    (
        MobileNet(),
        SHAPE,
        [
            ("gemm", "convolution+batch_norm+relu"),
            ("depthwise_conv2d", "convolution+batch_norm+relu"),
            ("reduce", "adaptive_avg_pool2d"),
            ("gemm", "convolution+relu"),
            ("gemm", "convolution+sigmoid"),
            ("elementwise", "mul"),
            ("gemm", "convolution+batch_norm+add"),
        ],
    ),
    (
        Transformer(),
        (2, 49, 64),
        [
            ("layer_norm", "layer_norm"),
            ("gemm", "linear"),
            ("other", "scaled_dot_product_attention"),
            ("gemm", "linear+add"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("module", "shape", "expected"), EXPECTED, ids=[type(e[0]).__name__ for e in EXPECTED]
)
def test_blocks_launch_the_kernels_that_they_are_known_to(
    module: nn.Module, shape: tuple[int, ...], expected: list[tuple[str, str]]
) -> None:
    assert told(tuple(kernels_of(module, shape))) == expected


def test_the_figures_of_a_convnext_block() -> None:
    spatial, norm, up, down = kernels_of(ConvNeXt())
    assert (spatial.m, spatial.n, spatial.k, spatial.groups, spatial.taps) == (ROWS, 1, 49, 64, 49)
    assert spatial.flops == 2 * IMAGE * 49
    assert spatial.weight_bytes == 2 * (64 * 49 + 64)
    assert (norm.m, norm.n, norm.read_bytes) == (ROWS, 64, 2 * IMAGE)
    assert (up.m, up.n, up.k) == (ROWS, 256, 64)
    assert up.write_bytes == 8 * IMAGE
    assert (down.m, down.n, down.k) == (ROWS, 64, 256)
    # The epilogue reads the residual and the scale.
    assert down.read_bytes == 2 * (4 * IMAGE + IMAGE)
    assert down.weight_bytes == 2 * (256 * 64 + 64 + 64)
    assert down.write_bytes == 2 * IMAGE
    assert down.path == "down"


def test_a_folded_norm_leaves_a_bias() -> None:
    with_bias = nn.Sequential(nn.Conv2d(64, 32, 1), nn.BatchNorm2d(32))
    for module in (unit(64, 32, act=False), with_bias):
        (kernel,) = kernels_of(module)
        assert kernel.weight_bytes == 2 * (64 * 32 + 32)
        assert kernel.flops == 2 * ROWS * 64 * 32


def test_a_norm_that_cannot_fold_is_elementwise() -> None:
    (kernel,) = kernels_of(nn.Sequential(nn.BatchNorm2d(64), nn.ReLU()))
    assert (kernel.op, kernel.detail) == ("elementwise", "batch_norm+relu")
    (kernel,) = kernels_of(nn.Sequential(nn.Conv2d(64, 64, 1), nn.ReLU(), nn.BatchNorm2d(64)))
    assert kernel.detail == "convolution+relu+batch_norm"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(64, 32, 1, stride=2), ("conv2d", 98, 32, 64, 1, 1, 2)),
        (nn.Conv2d(64, 32, 3, groups=2), ("conv2d", 288, 16, 288, 2, 9, 1)),
        (nn.Conv2d(64, 128, 3, groups=64), ("conv2d", 288, 2, 9, 64, 9, 1)),
        (nn.ConvTranspose2d(64, 32, 2, stride=2), ("conv2d", ROWS, 128, 64, 1, 4, 2)),
        (nn.Linear(14, 5), ("gemm", 2 * 64 * 14, 5, 14, 1, 1, 1)),
        (nn.MaxPool2d(3, 2, 1), ("pool", 2 * 64 * 49, 1, 1, 1, 9, 2)),
        (nn.AdaptiveAvgPool2d(7), ("pool", 2 * 64 * 49, 1, 1, 1, 4, 1)),
        (nn.GroupNorm(4, 64), ("layer_norm", 8, 16 * 196, 1, 1, 1, 1)),
        (nn.Softmax(1), ("softmax", ROWS, 64, 1, 1, 1, 1)),
    ],
)
def test_sizes(module: nn.Module, expected: tuple[object, ...]) -> None:
    (k,) = kernels_of(module)
    assert (k.op, k.m, k.n, k.k, k.groups, k.taps, k.stride) == expected


class Graph(nn.Module):
    """A module out of a function, with a product to call."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 1)
        self.norm = nn.LayerNorm(64)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)  # type: ignore[operator]


def details(function: object) -> list[str]:
    return [k.detail for k in kernels_of(Graph(function))]


def test_an_intermediate_with_other_readers_stays_out_of_the_epilogue() -> None:
    def swish(m: Graph, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y * torch.sigmoid(y)

    assert details(swish) == ["convolution", "sigmoid+mul"]
    first, second = kernels_of(Graph(swish))
    assert first.write_bytes == second.read_bytes == second.write_bytes == 2 * IMAGE


def test_of_two_products_the_later_takes_the_sum() -> None:
    assert details(lambda m, x: m.conv(x) + m.other(x)) == ["convolution", "convolution+add"]


def test_elementwise_operands_join_the_product() -> None:
    def gate(m: Graph, x: Tensor) -> Tensor:
        opened = torch.sigmoid(x)
        return m.conv(x) * opened

    assert details(gate) == ["convolution+sigmoid+mul"]
    (kernel,) = kernels_of(Graph(gate))
    assert kernel.read_bytes == 2 * IMAGE


def test_elementwise_chains_read_once_and_write_what_is_needed() -> None:
    def both(m: Graph, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.exp() + x
        return y, (y * x).tanh()

    (kernel,) = kernels_of(Graph(both))
    assert kernel.detail == "exp+add+mul+tanh"
    assert (kernel.m, kernel.flops) == (IMAGE, 4 * IMAGE)
    assert (kernel.read_bytes, kernel.write_bytes) == (2 * IMAGE, 4 * IMAGE)


def test_a_launch_never_runs_before_what_it_reads() -> None:
    def late(m: Graph, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.exp()
        return y, m.conv(y) + y.tanh() * m.other(y).amax((2, 3), keepdim=True)

    # `exp` runs long before the maximum is known, so the product with it goes elsewhere.
    assert details(late) == ["exp+tanh", "convolution", "amax", "convolution+mul+add"]


def test_a_sum_joins_the_norm_after_it() -> None:
    def post(m: Graph, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.relu() + x
        return y, m.norm(y.permute(0, 2, 3, 1))

    (kernel,) = kernels_of(Graph(post))
    assert (kernel.op, kernel.detail) == ("layer_norm", "relu+add+layer_norm")
    assert (kernel.read_bytes, kernel.write_bytes) == (2 * IMAGE, 4 * IMAGE)


def test_parts_are_read_as_parts_and_copies_are_copies() -> None:
    (kernel,) = kernels_of(Graph(lambda m, x: x[:, :8].relu()))
    assert (kernel.op, kernel.read_bytes) == ("elementwise", 2 * IMAGE // 8)
    (kernel,) = kernels_of(Graph(lambda m, x: x.roll((1, 1), (2, 3))))
    assert (kernel.op, kernel.read_bytes, kernel.write_bytes) == ("copy", 2 * IMAGE, 2 * IMAGE)
    kernels = kernels_of(Graph(lambda m, x: F.pad(x, (1, 0))[..., :-1] + 1))
    assert [k.op for k in kernels] == ["copy", "elementwise"]
    assert kernels_of(Graph(lambda m, x: x.permute(0, 2, 3, 1))) == []


def test_copies_of_copies_are_one() -> None:
    def shift(m: Graph, x: Tensor) -> Tensor:
        a, b, rest = x.split([4, 4, 56], 1)
        left, right = F.pad(a, (0, 1))[..., 1:], F.pad(b, (1, 0))[..., :-1]
        return torch.cat([left, right, rest], 1)

    (kernel,) = kernels_of(Graph(shift))
    assert (kernel.op, kernel.detail) == ("copy", "pad+pad+cat")
    assert (kernel.m, kernel.read_bytes, kernel.write_bytes) == (IMAGE, 2 * IMAGE, 2 * IMAGE)

    def kept(m: Graph, x: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(x, (1, 1))
        return padded, torch.cat([padded, padded], 1)

    assert details(kept) == ["pad", "cat"]


def test_the_unknown_is_other_with_its_bytes() -> None:
    (kernel,) = kernels_of(Graph(lambda m, x: x.cumsum(1)))
    assert (kernel.op, kernel.detail) == ("other", "cumsum")
    assert (kernel.read_bytes, kernel.write_bytes, kernel.flops) == (2 * IMAGE, 2 * IMAGE, 0)


def test_float_schemes_scale_all_bytes() -> None:
    for half, full in zip(
        kernels_of(MobileNet()), kernels_of(MobileNet(), scheme="fp32"), strict=True
    ):
        assert full.read_bytes == 2 * half.read_bytes
        assert full.weight_bytes == 2 * half.weight_bytes
        assert full.write_bytes == 2 * half.write_bytes
        assert (half.scheme, full.scheme) == ("fp16", "fp32")


def test_weight_only_schemes_shrink_weights_alone() -> None:
    for half, eight, four in zip(
        *(kernels_of(ConvNeXt(), scheme=s) for s in ("fp16", "w8", "w4")), strict=True
    ):
        assert half.read_bytes == eight.read_bytes == four.read_bytes
        assert half.write_bytes == eight.write_bytes == four.write_bytes
        if half.op == "layer_norm":
            assert half == eight == four
    up = kernels_of(ConvNeXt(), scheme="w4")[2]
    assert up.scheme == "w4"
    assert up.weight_bytes == 64 * 256 // 2 + 2 * 256


def test_int8_goes_between_neighbours() -> None:
    first, spatial, norm, up, down = kernels_of(ConvNeXt(), scheme="w8a8")
    # The block's input is fp16, and the residual sum reads it as such later.
    assert (first.detail, first.read_bytes, first.write_bytes) == ("quantize", 2 * IMAGE, IMAGE)
    assert (spatial.scheme, spatial.read_bytes, spatial.write_bytes) == ("w8a8", IMAGE, 2 * IMAGE)
    assert (norm.scheme, norm.read_bytes, norm.write_bytes) == ("fp16", 2 * IMAGE, IMAGE)
    assert (up.read_bytes, up.write_bytes) == (IMAGE, 4 * IMAGE)
    assert up.weight_bytes == 64 * 256 + 2 * 256
    assert (down.read_bytes, down.write_bytes) == (4 * IMAGE + 2 * IMAGE, 2 * IMAGE)


def test_int8_beside_fp16_where_both_are_read() -> None:
    def forked(m: Graph, x: Tensor) -> Tensor:
        y = m.conv(x)
        return m.other(y) + y

    _, first, second = kernels_of(Graph(forked), scheme="w8a8")
    assert first.write_bytes == 3 * IMAGE
    assert second.read_bytes == 3 * IMAGE


def test_faults() -> None:
    with pytest.raises(ValueError, match=r"scheme must be one of fp32, fp16.*got 'int7'"):
        fuse(trace(nn.ReLU(), (2, 4)), "int7")
    with pytest.raises(ValueError, match=r"hole at '0': splice the children"):
        fuse(trace(nn.Sequential(Hole(0, (4,))), (2, 4)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([e[0] for e in EXPECTED[:5]]), max_size=3), st.sampled_from(SCHEMES)
)
def test_fusion_conserves_work_and_never_adds_launches(
    modules: list[nn.Module], scheme: str
) -> None:
    record = trace(nn.Sequential(*modules), SHAPE)
    kernels = fuse(record, scheme)
    launches = [k for k in kernels if k.detail != "quantize"]
    real = [c for c in record.calls if not c.view]
    assert sorted("+".join(k.detail for k in launches).split("+")) == sorted(
        [c.op for c in real] or [""]
    )
    products = [k for k in kernels if k.op in ("gemm", "conv2d", "depthwise_conv2d")]
    assert sum(k.groups * k.m * k.n * k.k for k in products) == record.macs
    for k in kernels:
        assert k.op in FAMILIES
        assert k.read_bytes > 0
        assert k.write_bytes > 0
