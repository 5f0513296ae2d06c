"""How the weights of a wider or larger layer follow from those of a smaller one.

The one table that `searchspace.morph` maps weights by. A layer that does not stand in it is copied
as it is or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from searchspace.primitives.convolution import DILATED_BRANCHES
from searchspace.tree import Node, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the axes of a layer's tensors are, a letter for each axis.

    - `o`: channels that leave, copied;
    - `i`: channels that enter and are summed over, copied, the copies' shares adding up to one;
    - `c`: channels one by one, copied;
    - `h`, `s`: hidden units, copied; the same where they are summed over, in shares as well;
    - `2`, `3`: hidden units of two or three kinds, one kind after the other, copied;
    - `k`: places of a kernel, zeros put round them;
    - `d`: distances from a kernel's centre, ones put behind them;
    - `.`: as it is.
    """

    weights: Mapping[str, str] = field(default_factory=dict)
    """Letters by name of the parameter or buffer."""
    grows: tuple[str, ...] = ()
    """Scalar arguments that may be larger in the new layer."""
    zero: tuple[str, ...] = ()
    """Parameters without which the layer gives zeros, whatever comes in."""
    absorbs: tuple[str, ...] = ()
    """Parameters without `i` that the input is multiplied by."""
    even: bool = False
    """Whether every channel must have equally many copies: means over channels are taken."""
    even_hidden: bool = False
    """The same for hidden units."""
    fixed: bool = False
    """Whether the channels must stay as they are."""
    by_position: bool = False
    """Whether heads are counted, all of one width."""
    kernels: bool = False
    """Whether a word may follow by `WIDER`, and tensors without letters get zeros round kernels."""
    partner: Callable[[str, Node, Node], str | None] | None = None
    """Name of the old tensor for a new one, where they differ; None for a new branch without any.

    Gets the name, the old layer and the new one; raises `LookupError` where old ones are left over.
    """


WIDER: Mapping[Value, tuple[Value, ...]] = {
    "conv1": ("conv3",),
    "conv1x3": ("conv1x7",),
    "separable3": ("separable5", "separable7"),
    "separable5": ("separable7",),
}
"""Words for the same layers with larger kernels."""

_NORM = {"weight": "c", "bias": "c"}
_BATCH_NORM = {**_NORM, "running_mean": "c", "running_var": "c", "num_batches_tracked": ""}
_QKV = {"qkv.weight": "3i", "qkv.bias": "3", "project.weight": "os", "project.bias": "o"}
_PROJECT = ("project.weight", "project.bias")
_SIZES = ("out", "kernel")


def _wider(name: str, old: Node, new: Node) -> str | None:
    """The branch of a smaller `dilated_reparam` that a branch continues: of the same dilation."""
    list_name, index, *rest = name.split(".")
    if index == "0":
        return name
    before, after = (DILATED_BRANCHES[int(n.values[0])] for n in (old, new))
    found = {}
    for position, (kernel, dilation) in enumerate(before, 1):
        places = [i for i, (k, d) in enumerate(after, 1) if d == dilation and k >= kernel]
        if not places:
            raise LookupError(f"no branch of dilation {dilation}")
        found[places[0]] = position
    partner = found.get(int(index))
    return None if partner is None else ".".join((list_name, str(partner), *rest))


def _branches(most: int) -> dict[str, str]:
    tensors: dict[str, str] = {}
    for i in range(most):
        tensors[f"convs.{i}.weight"] = "c.kk"
        tensors |= {f"norms.{i}.{name}": letters for name, letters in _BATCH_NORM.items()}
    return tensors


LAYOUTS: Mapping[str, Layout] = {
    "conv": Layout(weights={"conv.weight": "oikk"}, grows=_SIZES, zero=("conv.weight",)),
    "grouped_conv": Layout(
        weights={"conv.weight": "c.kk"},
        grows=_SIZES,
        zero=("conv.weight",),
        absorbs=("conv.weight",),
    ),
    "dilated_conv": Layout(
        weights={"conv.weight": "oikk"}, grows=("kernel",), zero=("conv.weight",)
    ),
    "weighted_conv": Layout(
        weights={"conv.weight": "oikk", "density": "d"}, grows=_SIZES, zero=("conv.weight",)
    ),
    "strided_conv": Layout(
        weights={"conv.weight": "oi..", "conv.bias": "o"},
        grows=("out",),
        zero=("conv.weight", "conv.bias"),
    ),
    "patch_conv": Layout(
        weights={"conv.weight": "oi..", "conv.bias": "o"},
        grows=("out",),
        zero=("conv.weight", "conv.bias"),
    ),
    "patch_tokens": Layout(
        weights={"project.weight": "oi..", "project.bias": "o"}, grows=("out",), zero=_PROJECT
    ),
    "conv_tokens": Layout(weights={"conv.weight": "oikk"}, grows=_SIZES, zero=("conv.weight",)),
    "pointwise": Layout(weights={"mix.weight": "oi.."}, zero=("mix.weight",)),
    "linear": Layout(
        weights={"linear.weight": "oi", "linear.bias": "o"},
        grows=("out",),
        zero=("linear.weight", "linear.bias"),
    ),
    "last_linear": Layout(
        weights={"linear.weight": "oi", "linear.bias": "o"},
        grows=("out",),
        zero=("linear.weight", "linear.bias"),
    ),
    "classifier": Layout(weights={"linear.weight": ".i", "linear.bias": "."}),
    "hidden": Layout(zero=("linear.weight", "linear.bias")),
    "depthwise": Layout(
        weights={"conv.weight": "c.kk", "conv.bias": "c"},
        grows=("kernel",),
        zero=("conv.weight", "conv.bias"),
        absorbs=("conv.weight",),
    ),
    "unbiased_depthwise": Layout(
        weights={"conv.weight": "c.kk"},
        grows=("kernel",),
        zero=("conv.weight",),
        absorbs=("conv.weight",),
    ),
    "dilated_reparam": Layout(weights=_branches(6), grows=("kernel",), partner=_wider),
    "inception_depthwise": Layout(
        weights={
            "square.weight": "....",
            "square.bias": ".",
            "row.weight": "...k",
            "row.bias": ".",
            "column.weight": "..k.",
            "column.bias": ".",
        },
        grows=("kernel",),
        fixed=True,
    ),
    "inverted": Layout(
        weights={
            "expand.weight": "hi..",
            "expand.bias": "h",
            "project.weight": "os..",
            "project.bias": "o",
        },
        grows=("ratio",),
        zero=_PROJECT,
    ),
    "inverted_response": Layout(
        weights={
            "expand.weight": "hi..",
            "expand.bias": "h",
            "norm.scale": "h",
            "norm.bias": "h",
            "project.weight": "os..",
        },
        grows=("ratio",),
        zero=("project.weight",),
        even_hidden=True,
    ),
    "plain": Layout(
        weights={"mix.weight": "oi..", "mix.bias": "o"}, zero=("mix.weight", "mix.bias")
    ),
    "squeeze_excite": Layout(
        weights={
            "squeeze.weight": "hi..",
            "squeeze.bias": "h",
            "excite.weight": "cs..",
            "excite.bias": "c",
        },
    ),
    "excite": Layout(
        weights={
            "squeeze.weight": "hi..",
            "squeeze.bias": "h",
            "excite.weight": "cs..",
            "excite.bias": "c",
        },
        grows=("hidden",),
    ),
    "token_mlp": Layout(
        weights={
            "expand.weight": "hi",
            "expand.bias": "h",
            "project.weight": "os",
            "project.bias": "o",
        },
        grows=("ratio",),
        zero=_PROJECT,
    ),
    "mixer_mlp": Layout(
        weights={
            "expand.weight": "h.",
            "expand.bias": "h",
            "project.weight": ".s",
            "project.bias": ".",
        },
        grows=("hidden",),
        zero=_PROJECT,
    ),
    "attention": Layout(weights=_QKV, grows=("heads",), zero=_PROJECT, by_position=True),
    "linear_attention": Layout(weights=_QKV, grows=("heads",), zero=_PROJECT, by_position=True),
    "unbiased_attention": Layout(
        weights={name: letters for name, letters in _QKV.items() if name != "qkv.bias"},
        grows=("heads",),
        zero=_PROJECT,
        by_position=True,
    ),
    "grouped_query_attention": Layout(zero=_PROJECT),
    "window_attention": Layout(
        weights={**_QKV, "table": "h.."}, grows=("heads",), zero=_PROJECT, by_position=True
    ),
    "gated_positional_attention": Layout(zero=_PROJECT),
    "raft_mixer": Layout(),
    "gated_mixer": Layout(zero=_PROJECT),
    "batch_norm": Layout(weights=_BATCH_NORM, zero=("weight", "bias")),
    "layer_norm": Layout(weights=_NORM, zero=("weight", "bias"), even=True),
    "rms_norm": Layout(weights={"weight": "c"}, zero=("weight",), even=True),
    "group_norm": Layout(zero=("weight", "bias")),
    "mode_norm": Layout(
        weights={"norm.weight": "c", "norm.bias": "c"},
        zero=("norm.weight", "norm.bias"),
        even=True,
    ),
    "instance_batch_norm": Layout(
        zero=("instance.weight", "instance.bias", "batch.weight", "batch.bias")
    ),
    "bias": Layout(weights={"bias": "c"}),
    "layer_scale": Layout(weights={"scale": "c"}, zero=("scale",), absorbs=("scale",)),
    "position": Layout(weights={"embedding": "..c"}),
    "learned_position": Layout(weights={"embedding": "..c"}),
    "class_token": Layout(weights={"token": "..c"}),
    "nasnet_cell": Layout(kernels=True, fixed=True),
    "token_pool": Layout(weights={"score.weight": ".i", "score.bias": "."}),
}
"""Layouts by primitive. Without `weights` or `kernels` a layer must stay as it is, or be new."""

ANY_CHANNELS = frozenset(
    {
        "activation",
        "average_pool",
        "ceil_max_pool",
        "drop_path",
        "global_pool",
        "identity",
        "max_pool",
        "mean_pool",
        "strided_average_pool",
        "strided_max_pool",
        "to_image",
        "to_tokens",
        "resize",
        "resize_to",
        "zero",
    }
)
"""Without weights, and alike for all channels."""

GATES: Mapping[str, tuple[str, ...]] = {
    "squeeze_excite": ("excite.weight", "excite.bias"),
    "excite": ("excite.weight", "excite.bias"),
    "eca": ("conv.weight",),
}
"""Parameters without which a gate lets half of everything through."""

KEEPS_ZERO = frozenset({*GATES, *ANY_CHANNELS})
"""What gives zeros where zeros come in; not a sigmoid."""
