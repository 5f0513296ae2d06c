"""The cell of NASNet: blocks that combine two earlier states by two operations each.

Dimension letters: B batch, C channels of the cell before, L channels of the one before that, H
height, W width, F filters of the cell, G those of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searchspace.primitives.base import Arguments, Parameter, Primitive, Values
from searchspace.primitives.dense_convolution import dense_conv
from searchspace.primitives.drop_path import DropPath
from searchspace.shapes import ShapeError, TensorSpec, image, strided

OPERATIONS = (
    "identity",
    "conv1",
    "conv3",
    "conv1x3",
    "conv1x7",
    "dilated3",
    "average3",
    "max3",
    "max5",
    "max7",
    "separable3",
    "separable5",
    "separable7",
)
BLOCKS = 5


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the epsilon of NASNet."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Pool(nn.Module):
    """Mean or largest value of each window; what lies outside of the image does not count."""

    def __init__(self, kind: str, kernel: int, stride: int) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride = kind, kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to every `stride`-th pixel of it."""
        window = (self.kernel, self.stride, self.kernel // 2)
        if self.kind == "max":
            return F.max_pool2d(x, *window)
        return F.avg_pool2d(x, *window, count_include_pad=False)


def projection(channels: int, out: int, stride: int = 1) -> list[nn.Module]:
    """ReLU, point-wise convolution, batch norm."""
    return [nn.ReLU(), dense_conv(channels, out, 1, stride=stride), batch_norm(out)]


def separable(channels: int, out: int, kernel: int, stride: int) -> list[nn.Module]:
    """ReLU, depthwise and point-wise convolution, batch norm."""
    depthwise = dense_conv(channels, channels, kernel, stride=stride, groups=channels)
    return [nn.ReLU(), depthwise, dense_conv(channels, out, 1), batch_norm(out)]


def bands(channels: int, out: int, kernel: int, stride: int) -> list[nn.Module]:
    """ReLU, 1 x `kernel` and `kernel` x 1 convolutions, batch norm."""
    flat = nn.Conv2d(
        channels, out, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False
    )
    high = nn.Conv2d(
        out, out, (kernel, 1), stride=(stride, 1), padding=(kernel // 2, 0), bias=False
    )
    for layer, size in ((flat, channels), (high, out)):
        nn.init.normal_(layer.weight, std=(2 / (size * kernel)) ** 0.5)
    return [nn.ReLU(), flat, high, batch_norm(out)]


def operation(name: str, channels: int, out: int, stride: int) -> nn.Sequential:
    """One of `OPERATIONS`. What keeps channels is projected where their number changes."""
    kind, kernel = name.rstrip("0123456789x"), int(name[-1]) if name[-1].isdigit() else 1
    if "x" in name and kind == "conv":
        return nn.Sequential(*bands(channels, out, kernel, stride))
    if kind == "separable":
        second = separable(out, out, kernel, 1)
        return nn.Sequential(*separable(channels, out, kernel, stride), *second)
    if kind in ("conv", "dilated"):
        dilation = 2 if kind == "dilated" else 1
        conv = dense_conv(channels, out, kernel, stride=stride, dilation=dilation)
        return nn.Sequential(nn.ReLU(), conv, batch_norm(out))
    if kind == "identity":
        kept = channels == out and stride == 1
        return nn.Sequential(*([nn.Identity()] if kept else projection(channels, out, stride)))
    widened = [] if channels == out else [dense_conv(channels, out, 1), batch_norm(out)]
    return nn.Sequential(Pool(kind, kernel, stride), *widened)


class Reduction(nn.Module):
    """Half of the resolution from two sets of pixels, one moved by one pixel from the other.

    The factorised reduction of NASNet's public code: ReLU, every other pixel projected to half of
    the channels, its neighbour on the diagonal to the other half, batch norm.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = dense_conv(channels, out // 2, 1, stride=2)
        self.second = dense_conv(channels, out - out // 2, 1, stride=2)
        self.norm = batch_norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, out, H / 2, W / 2]`, rounded up."""
        x = F.relu(x)
        moved = F.pad(x, (-1, 1, -1, 1))
        y: Tensor = self.norm(torch.cat((self.first(x), self.second(moved)), dim=1))
        return y


def passed(channels: int, out: int, stride: int) -> nn.Module:
    """A state for where it is wanted: with `out` channels, at every `stride`-th pixel."""
    if stride == 2:
        return Reduction(channels, out)
    return nn.Sequential(*projection(channels, out))


class NASNetCell(nn.Module):
    """Five blocks a(x) + b(y) on earlier states; the states from `first` on leave, joined.

    Zoph et al., NASNet (arXiv 1707.07012), section 3.1: state 0 is the output of the cell before, 1
    that of the one before it, blocks make 2 to 6. In a reduction cell (`stride` 2) the operations
    on states 0 and 1 have stride 2.

    Departures: in the paper those states leave that no block takes, so that wiring decides the
    width; NASNet-A's public code joins others, too, and here `first` says which, 1 in its normal
    cell and 3 in its reduction cell. What neither leaves nor is taken is added to the last state,
    which happens in neither. Of the two ways to combine, the sum alone is offered, which is all
    that the published cells use.

    The two inputs of a cell come in one tensor: state 0 as it left its cell, then state 1 as this
    cell uses it. For that, a cell projects the output of the cell before it for the cell behind it.
    In the paper the one behind does so itself, which is the same.
    """

    def __init__(
        self,
        channels: int,
        left: int,
        filters: int,
        following: int,
        stride: int,
        first: int,
        drop: int,
        wiring: str,
    ) -> None:
        """Make a cell.

        Args:
            channels: C.
            left: L.
            filters: F.
            following: G; 0 for the last cell.
            stride: 1, or 2 for a reduction.
            first: the first state that leaves.
            drop: percent to which ScheduledDropPath drops operations; 0 for never.
            wiring: ten operations, each after the digit of its state: `0 conv3 1 identity …`.
        """
        super().__init__()
        self.sizes = [channels, left]
        self.project = nn.Sequential(*projection(channels, filters))
        self.carry = passed(channels, following, stride) if following else None
        widths = [filters, left, *[filters] * (len(wiring.split()) // 4)]
        words = wiring.split()
        self.inputs = [int(word) for word in words[::2]]
        self.operations = nn.ModuleList()
        for state, name in zip(self.inputs, words[1::2], strict=True):
            layers = operation(name, widths[state], filters, stride if state < 2 else 1)
            if drop and name != "identity":
                layers.append(DropPath(drop))
            self.operations.append(layers)
        # A state that goes on as it is, or is brought to the width and size of the others.
        self.leaving = list(range(first, len(widths)))
        self.added = [n for n in range(first) if n not in self.inputs]
        self.exits = nn.ModuleList()
        for state in (*self.added, *self.leaving):
            as_it_is = state > 1 or (stride == 1 and widths[state] == filters)
            exit_ = nn.Identity() if as_it_is else passed(widths[state], filters, stride)
            self.exits.append(exit_)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C + L, H, W]` to `[B, F * (7 - first) + G, H / stride, W / stride]`."""
        last, before = torch.split(x, self.sizes, dim=1)
        states = [self.project(last), before]
        edges = zip(self.inputs, self.operations, strict=True)
        for state, apply in edges:
            y = apply(states[state])
            state, apply = next(edges)
            states.append(y + apply(states[state]))
        exits = iter(self.exits)
        for state in self.added:
            states[-1] = states[-1] + next(exits)(states[state])
        parts = [next(exits)(states[state]) for state in self.leaving]
        if self.carry is not None:
            parts.append(self.carry(last))
        return torch.cat(parts, dim=1)


def _inputs(values: Values) -> list[int]:
    return [int(values[f"{side}{n}"]) for n in range(1, BLOCKS + 1) for side in "xy"]


def _result(spec: TensorSpec, values: Values, inner: Sequence[TensorSpec]) -> TensorSpec:
    left, filters, stride = (int(values[name]) for name in ("left", "filters", "stride"))
    if spec.mode != "image" or spec.channels <= left:
        raise ShapeError(f"nasnet_cell needs an image of more than {left} channels; got {spec}")
    following = int(values["following"])
    if following == 1:
        raise ShapeError(f"nasnet_cell must pass on no channels or 2 and more, not 1; got {spec}")
    channels = (BLOCKS + 2 - int(values["first"])) * filters + following
    return image(channels, *(strided(size, stride) for size in spec.shape[1:]))


def _arguments(spec: TensorSpec, values: Values) -> Arguments:
    inputs, left = _inputs(values), int(values["left"])
    names = [values[f"{side}{n}"] for n in range(1, BLOCKS + 1) for side in "ab"]
    return {
        "channels": spec.channels - left,
        "left": left,
        **{name: values[name] for name in ("filters", "following", "stride", "first", "drop")},
        "wiring": " ".join(f"{i} {name}" for i, name in zip(inputs, names, strict=True)),
    }


def _block(n: int) -> tuple[Parameter, ...]:
    return (
        Parameter(name=f"x{n}", least=0, most=n, shapes=False),
        Parameter(name=f"a{n}", words=OPERATIONS, shapes=False),
        Parameter(name=f"y{n}", least=0, most=n, shapes=False),
        Parameter(name=f"b{n}", words=OPERATIONS, shapes=False),
    )


PRIMITIVES = (
    Primitive(
        name="nasnet_cell",
        summary="five sums of two operations on earlier states (NASNet, arXiv 1707.07012)",
        module=NASNetCell,
        parameters=(
            Parameter(name="left"),
            Parameter(name="filters", least=2),
            Parameter(name="following", least=0),
            Parameter(name="stride", choices=(1, 2)),
            Parameter(name="first", least=0, most=BLOCKS + 1),
            Parameter(name="drop", least=0, most=99, shapes=False),
            *(parameter for n in range(1, BLOCKS + 1) for parameter in _block(n)),
        ),
        arguments=_arguments,
        result=_result,
        needs=(
            batch_norm,
            projection,
            separable,
            bands,
            dense_conv,
            Pool,
            Reduction,
            passed,
            operation,
            DropPath,
        ),
    ),
)
