"""What is known of primitives as functions: which are equal, undo one another, or keep a zero.

`searchspace.canonical` relies on it. What stands in no table here is taken for a function of its
own with weights of its own, which is always safe.
"""

from __future__ import annotations

from collections.abc import Sequence

from searchspace.expression import Expression, Row, term
from searchspace.shapes import TensorSpec
from searchspace.tree import Value

Step = tuple[str, tuple[Value, ...]]
"""A primitive's name and its scalar arguments."""

_MOVES = {"permute", "scale", "shift", "to_image", "to_tokens", "unfold"}
_POOLS = {
    "average_pool",
    "ceil_max_pool",
    "global_pool",
    "max_pool",
    "mean_pool",
    "strided_average_pool",
    "strided_max_pool",
}
_SOFTMAX = {"last_softmax", "softmax"}
FREE = frozenset(
    {"activation", "fourier", "resize", "resize_to", "zero"} | _MOVES | _POOLS | _SOFTMAX
)
"""Without weights or chance: computed twice from one input, they give one value."""

_WITHOUT_OFFSET = {
    "conv",
    "dilated_conv",
    "drop_path",
    "eca",
    "grouped_conv",
    "layer_scale",
    "pointwise",
    "rms_norm",
    "squeeze_excite",
    "unbiased_depthwise",
    "weighted_conv",
}
_ZERO_AT_ZERO = (FREE | _WITHOUT_OFFSET) - _SOFTMAX - {"activation"}
_PLACE_BY_PLACE = {"activation", "batch_norm", "bias", "drop_path", "layer_scale", "pointwise"}
_SIGMOID: Step = ("activation", ("sigmoid",))
_RELU: Step = ("activation", ("relu",))
_RELU6: Step = ("activation", ("relu6",))
_LEAKY: Step = ("activation", ("leaky_relu",))


def plainest(name: str, values: tuple[Value, ...], spec: TensorSpec) -> Step | None:
    """The one way to write a primitive that meets `spec`; None if it is the identity there."""
    if name in ("average_pool", "max_pool"):
        name, values = f"strided_{name}", (*values, 1)
    if name in ("strided_average_pool", "strided_max_pool") and (
        values == (1, 1) or (values[1] == 1 and int(values[0]) % 2 and spec.shape[1:] == (1, 1))
    ):
        return None
    if name == "mean_pool" and spec.mode == "image":
        return "global_pool", ()
    if name == "last_softmax" and spec.mode != "image":
        return "softmax", ()
    if name == "resize_to" and spec.shape[1:] == (*values, *values):
        return None
    if (name, values) == ("unfold", (1, 1)):
        return "to_tokens", ()
    if (name, values) == ("token_pool", ("mean",)):
        return "mean_pool", ()
    if name == "identity" or (name, values) == ("resize", (1000,)):
        return None
    return None if (name, spec.mode) == ("mean_pool", "vector") else (name, values)


def zero_at_zero(term: Expression) -> bool:
    """Whether a primitive makes zeros of zeros, whatever its weights."""
    name = term.operator
    return name in _ZERO_AT_ZERO or (name == "activation" and term.values != ("sigmoid",))


def keeps_level(term: Expression) -> bool:
    """Whether a primitive makes the same at every place of an image that is the same everywhere."""
    name, values = term.operator, term.values
    return name in _PLACE_BY_PLACE or (name == "conv" and values[1] == 1) or passes_level(term)


def passes_level(term: Expression) -> bool:
    """Whether a primitive changes no image that is the same everywhere, added to others or not.

    Windows count only what lies in the image, so borders make no difference.
    """
    pools = ("strided_average_pool", "strided_max_pool")
    return term.operator in pools and int(term.values[0]) % 2 == 1 and term.values[1] == 1


def needless(row: Sequence[Expression], term: Expression) -> bool:
    """Whether a term changes nothing after others in a row: what it clips is not there."""
    return _step(term) in (_RELU, _LEAKY) and _not_negative(row)


def both(first: Expression, second: Expression) -> Row | None:
    """What two terms in a row are together, where that is less; None where it is not."""
    names, spec = (first.operator, second.operator), first.spec
    if names == ("to_tokens", "to_image") and spec is not None and spec.shape[1] == spec.shape[2]:
        return ()
    if names == ("to_image", "to_tokens"):
        return ()
    if names == ("permute", "permute"):
        return _permuted(first, str(second.values[0]))
    if _step(first) in (_SIGMOID, _RELU6) and _step(second) == _RELU6:
        return (first,)
    if (_step(first), _step(second)) == (_RELU, _RELU6):
        return (term("activation", ("relu6",), free=True, spec=spec),)
    return None


def _step(term: Expression) -> Step:
    return term.operator, term.values


def _not_negative(row: Sequence[Expression]) -> bool:
    for before in reversed(row):
        if before.operator in _SOFTMAX or _step(before) in (_SIGMOID, _RELU, _RELU6):
            return True
        if before.operator not in _MOVES | _POOLS:
            break
    return False


def _permuted(first: Expression, second: str) -> Row:
    letters = "nd" if len(second) == 2 else "chw"
    order = "".join(str(first.values[0])[letters.index(letter)] for letter in second)
    if order == letters:
        return ()
    return (term("permute", (order,), free=True, spec=first.spec),)
