from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hwprofile.record import Record
from hwprofile.trace import Hole, TraceError, chain, splice, trace


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Branches(nn.Module):
    """Runs children on halves of the channels, then gates them by each other."""

    def __init__(self, *children: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(children)
        self.mix = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = [part(x) for part in self.parts]
        return self.mix(torch.cat(made, 1).unflatten(1, (len(made), -1)).sum(1)).sigmoid() * x


class Attention(nn.Module):
    def __init__(self, dim: int = 16, heads: int = 4, *, fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), heads
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v
        return self.out(y.transpose(1, 2).reshape(b, n, c))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kcd->bkdhw", x, self.mix)


def conv(c_in: int, c_out: int, k: int = 3, **kwargs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False, **kwargs),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


MODULES: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("convolutions", nn.Sequential(conv(3, 8, stride=2), conv(8, 8, 5, groups=8)), (2, 3, 17, 19)),
    ("dilated", nn.Conv2d(4, 6, (3, 1), stride=(2, 1), dilation=2, groups=2), (2, 4, 9, 9)),
    ("transposed", nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2), (2, 8, 5, 7)),
    ("conv1d", nn.Conv1d(4, 6, 3, padding="same"), (2, 4, 11)),
    ("conv3d", nn.Conv3d(2, 4, 3), (1, 2, 5, 6, 7)),
    (
        "mlp",
        nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.GELU(), nn.Linear(20, 5)),
        (4, 3, 16),
    ),
    ("linear on images", nn.Linear(7, 3), (2, 4, 5, 7)),
    ("attention", Attention(), (2, 9, 16)),
    ("fused attention", Attention(fused=True), (2, 9, 16)),
    ("torch's attention", nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 9, 16)),
    ("einsum", Recurrent(), (2, 8, 4, 5)),
    ("composites", Residual(Branches(conv(8, 8), Residual(nn.Conv2d(8, 8, 1)))), (2, 8, 6, 6)),
]


@pytest.mark.parametrize(("name", "module", "shape"), MODULES, ids=[m[0] for m in MODULES])
def test_counts_what_torch_counts_when_it_runs(
    name: str, module: nn.Module, shape: tuple[int, ...]
) -> None:
    # Training mode with gradients keeps torch's own layers off their fused inference paths, which
    # the counter cannot see into; no layer here has drop-out in the counted operations.
    module = module.train()
    # Nor does it count the fused attention of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        expected = module(torch.randn(shape))
    record = trace(module, shape)
    assert 2 * record.macs == counter.get_total_flops()
    assert record.output_shapes == (tuple(expected.shape),)
    assert record.param_count == sum(p.numel() for p in module.parameters())
    assert_well_numbered(record)


def assert_well_numbered(record: Record) -> None:
    known = dict(zip(record.inputs, record.input_shapes, strict=True))
    for call in record.calls:
        assert call.input_shapes == tuple(known[i] for i in call.inputs)
        assert list(call.outputs) == list(range(len(known), len(known) + len(call.outputs)))
        known.update(zip(call.outputs, call.output_shapes, strict=True))
    assert record.output_shapes == tuple(known[i] for i in record.outputs)


def test_a_call_says_what_decides_its_cost() -> None:
    module = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU())
    record = trace(module, (2, 4, 8, 8))
    first, second = record.calls
    assert (first.op, first.path, second.op, second.path) == ("convolution", "0", "relu", "1")
    assert first.attrs["kernel"] == (3, 3)
    assert first.attrs["stride"] == (2, 2)
    assert first.attrs["padding"] == (1, 1)
    assert first.attrs["dilation"] == (1, 1)
    assert first.attrs["groups"] == 2
    assert first.attrs["transposed"] is False
    assert [w.shape for w in first.weights] == [(6, 2, 3, 3), (6,)]
    assert [w.numel for w in first.weights] == [108, 6]
    assert first.output_dtypes == (torch.float32,)
    assert (first.inputs, first.outputs, second.inputs) == ((0,), (1,), (1,))


def test_views_alias_and_layouts_that_forbid_them_copy() -> None:
    class Shuffle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)

    calls = trace(Shuffle(), (2, 8, 4, 4)).calls
    assert [c.op for c in calls if not c.view] == ["view"]
    # In row-major memory flattening to tokens would be the view and the transpose strided.
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 4))
    assert [c.view for c in trace(tokens, (2, 8, 4, 4)).calls] == [True, False]


def test_split_parts_keep_their_sizes() -> None:
    class Parts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b, c = x.split([1, 3, 4], 1)
            return torch.cat([c, a.relu(), b], 1)

    split, relu, cat = trace(Parts(), (2, 8, 4, 4)).calls
    assert split.view
    assert split.output_shapes == ((2, 1, 4, 4), (2, 3, 4, 4), (2, 4, 4, 4))
    assert relu.inputs == split.outputs[:1]
    assert cat.inputs == (split.outputs[2], relu.outputs[0], split.outputs[1])
    assert [s[1] for s in cat.input_shapes] == [4, 1, 3]


def test_in_place_writes_reach_every_view_that_is_read_later() -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            part = y[:, :1]
            part.add_(1)
            return y.relu_()

    mul, part, add, relu = trace(Writes(), (2, 4)).calls
    assert add.inplace
    assert relu.inplace
    assert part.view
    assert add.inputs == part.outputs
    assert add.output_shapes == ((2, 1), (2, 4))
    assert relu.inputs == add.outputs[1:]
    assert len(relu.outputs) == 1
    assert mul.outputs not in (add.inputs, relu.inputs)


def test_several_inputs_and_outputs_of_any_type() -> None:
    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, words: Tensor, x: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
            return {"a": self.table(words) + x, "b": (x, words)}

    record = trace(Look(), torch.zeros(2, 3, dtype=torch.long), (2, 3, 4))
    assert record.inputs == (0, 1)
    assert record.input_dtypes == (torch.long, torch.float32)
    assert record.output_shapes == ((2, 3, 4), (2, 3, 4), (2, 3))
    assert record.outputs[1:] == (1, 0)
    assert trace(nn.Identity(), (2, 3)).calls == ()


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(conv(3, 8), nn.Dropout(0.5), conv(8, 8))
    module[0].eval()
    flags = [m.training for m in module.modules()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    pointers = [p.data_ptr() for p in module.parameters()]
    record = trace(module, (2, 3, 8, 8))
    assert "dropout" not in [c.op for c in record.calls]
    assert [m.training for m in module.modules()] == flags
    assert [p.data_ptr() for p in module.parameters()] == pointers
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_parameters_may_be_meta_half_or_shared() -> None:
    layer = nn.Linear(8, 8)
    shared = nn.Sequential(layer, nn.ReLU(), layer)
    record = trace(shared, (2, 8))
    assert record.param_count == 72
    assert record == trace(shared.to("meta"), (2, 8))
    half = trace(nn.Linear(8, 8).half(), (2, 8))
    assert half.calls[0].output_dtypes == (torch.float16,)


def test_computation_on_parameters_alone_is_folded() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(5, 3))
            self.register_buffer("index", torch.arange(4))
            self.token = nn.Parameter(torch.randn(1, 1, 3))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.table[self.index].softmax(-1) * torch.ones(4, 1)
            return torch.cat([self.token.expand(len(x), -1, -1), x], 1)

    add, cat = trace(Biased(), (2, 4, 3)).calls
    assert [w.shape for w in add.weights] == [(4, 3)]
    assert cat.weights[0].shape == (2, 1, 3)
    assert cat.weights[0].numel == 3


class Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Lists(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * len(x.tolist())


class Selects(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Buffers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(2, 8)
        out[:, :4] = x
        return out


@pytest.mark.parametrize("bad", [Reads(), Lists(), Selects()], ids=["if", "list", "mask"])
def test_asking_for_values_names_the_module_and_the_cure(bad: nn.Module) -> None:
    module = nn.Sequential(nn.ReLU(), nn.Sequential(bad))
    with pytest.raises(TraceError, match=r"module '1\.0' asks for the values.*Let shapes"):
        trace(module, (2, 4))


def test_other_faults_name_the_module() -> None:
    with pytest.raises(TraceError, match=r"module '0' writes what it computes.*torch\.cat"):
        trace(nn.Sequential(Buffers()), (2, 4))
    with pytest.raises(TraceError, match=r"module '1': linear refuses shapes \[\(2, 4\), \(3, 5\)"):
        trace(nn.Sequential(nn.ReLU(), nn.Linear(5, 3)), (2, 4))
    with pytest.raises(TraceError, match="depend on its inputs"):
        trace(Constant(), (2, 4))
    with pytest.raises(RuntimeError, match="a hole computes nothing"):
        Hole(0, (4,))(torch.zeros(2, 4))


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(3)


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 5, "five columns are needed"
        return x


class Pair(nn.Module):
    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> dict[str, object]:
        out = x @ y
        return {"first": out, "all": [out.relu(), None, 3], "table": torch.ones(2)}


def test_inputs_that_were_not_told_are_asked_for() -> None:
    with pytest.raises(
        TraceError, match=r"\(Pair\) takes x, y; .* told 1 shape .*one shape for each"
    ):
        trace(Pair(), (2, 4))
    with pytest.raises(TraceError, match=r"\(ReLU\) takes input; the tracer was told 2 shapes"):
        trace(nn.ReLU(), (2, 4), (2, 4))


def test_several_inputs_and_outputs_of_any_nesting() -> None:
    record = trace(Pair(), (2, 4), (4, 3))
    assert record.input_shapes == ((2, 4), (4, 3))
    assert record.output_shapes == ((2, 3), (2, 3))


def test_what_a_forward_raises_is_told_with_its_module() -> None:
    with pytest.raises(
        TraceError, match=r"module '1' raised AssertionError for inputs \(2, 4\): five"
    ):
        trace(nn.Sequential(nn.ReLU(), Fails()), (2, 4))


def test_values_of_the_modules_own_buffers_may_steer_it() -> None:
    class Steered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("times", torch.tensor(3))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(int(self.times)):
                x = x.relu()
            return x

    assert len(trace(Steered(), (2, 4)).calls) == 3


SHAPE = (2, 8, 6, 6)


@st.composite
def builders(draw: st.DrawFn, depth: int = 3) -> object:
    """A nested description: a leaf's name, or a composite's with its children."""
    leaves = ["conv", "relu", "identity", "norm", "permuted"]
    kind = draw(st.sampled_from(leaves if depth == 0 else [*leaves, "seq", "residual", "branches"]))
    if kind in leaves:
        return kind
    count = {"seq": draw(st.integers(1, 3)), "residual": 1, "branches": 2}[kind]
    return (kind, [draw(builders(depth - 1)) for _ in range(count)])


class Permuted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def leaf(kind: str) -> nn.Module:
    made: dict[str, nn.Module] = {
        "conv": conv(8, 8),
        "relu": nn.ReLU(),
        "identity": nn.Identity(),
        "norm": nn.GroupNorm(2, 8),
        "permuted": Permuted(),
    }
    return made[kind]


def composite(kind: str, children: list[nn.Module]) -> nn.Module:
    if kind == "seq":
        return nn.Sequential(*children)
    return Residual(children[0]) if kind == "residual" else Branches(*children)


def whole(tree: object) -> nn.Module:
    if isinstance(tree, str):
        return leaf(tree)
    kind, children = tree  # type: ignore[misc]
    return composite(kind, [whole(child) for child in children])


def spliced(tree: object) -> Record:
    if isinstance(tree, str):
        return trace(leaf(tree), SHAPE)
    kind, children = tree  # type: ignore[misc]
    records = [spliced(child) for child in children]
    if kind == "seq":
        return chain(records)
    frame = trace(composite(kind, [Hole(i, SHAPE[1:]) for i in range(len(records))]), SHAPE)
    return splice(frame, records)


@settings(max_examples=60, deadline=None)
@given(builders())
def test_a_spliced_record_equals_the_whole_traced_at_once(tree: object) -> None:
    together = spliced(tree)
    assert together == trace(whole(tree), SHAPE)
    assert_well_numbered(together)


def test_splice_and_chain_refuse_what_does_not_fit() -> None:
    frame = trace(Residual(Hole(0, (4,))), (2, 4))
    assert [c.path for c in frame.holes] == ["inner"]
    with pytest.raises(ValueError, match=r"hole 0 at 'inner' has no child among 0"):
        splice(frame, [])
    with pytest.raises(ValueError, match=r"must map \(\(2, 4\),\) to \(\(2, 4\),\); it maps"):
        splice(frame, [trace(nn.Linear(4, 5), (2, 4))])
    with pytest.raises(ValueError, match=r"child at 'inner' writes into its input"):
        splice(frame, [trace(nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True)), (2, 4))])
    with pytest.raises(ValueError, match=r"record 1 of a chain must take"):
        chain([trace(nn.Linear(4, 5), (2, 4)), trace(nn.Linear(4, 5), (2, 4))])
    with pytest.raises(ValueError, match="at least one record"):
        chain([])
    named = chain([trace(nn.Linear(4, 4), (2, 4))] * 2, paths=["stem", "head"])
    assert [c.path for c in named.calls] == ["stem", "head"]
    assert named.param_count == 40


def test_an_operator_of_this_project_is_recorded_as_what_its_launch_does() -> None:
    from kernels.library import OPERATORS

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 1, 5, 5))
            self.bias = nn.Parameter(torch.ones(8))

        def forward(self, x: Tensor) -> Tensor:
            return OPERATORS["depthwise_conv2d"](x, self.weight, self.bias, x, activation="gelu")

    for dtype in (torch.float32, torch.float16):
        record = trace(Layer().to(dtype), (2, 8, 6, 6))
        assert [call.op for call in record.calls] == ["convolution", "gelu", "add"]
        assert record.macs == 2 * 8 * 36 * 25
        assert record.output_shapes == ((2, 8, 6, 6),)
