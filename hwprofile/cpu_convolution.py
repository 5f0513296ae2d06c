"""What eager PyTorch runs on a CPU for a convolution.

The image is copied if it has gaps in the order that torch takes it to have, and a dense weight is
copied into channels-last order each time. With groups that oneDNN does not serve it is a
convolution for each group, and their concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from hwprofile.cpu_passes import Passes
from hwprofile.kernel import Kernel
from hwprofile.meta_shapes import spread
from hwprofile.onednn import convolves
from hwprofile.record import OpCall
from hwprofile.strides import seems_channels_last


def convolution_kernels(passes: Passes, call: OpCall) -> Iterator[Kernel]:
    """The calls for a convolution, in order."""
    image, weight = call.operands[:2]
    yield from passes.copied_first(call)
    last = any(seems_channels_last(x.shape, x.strides) for x in (image, weight))
    if last and math.prod(weight.shape[2:]) > 1 and weight.shape[1] > 1:
        yield passes.copy(call, weight.shape)
    whole = passes.whole(call, image.shape)
    if len(image.shape) == 4:
        whole = replace(whole, layout="nhwc" if last else "nchw")
    groups = spread(call.attrs["groups"], 1)[0]
    one_go = is_served(call, passes.scheme)
    if one_go or groups == 1:
        yield whole
        if one_go and call.attrs["transposed"] and image.shape[0] > 1 and not last:
            yield passes.copy(call, call.output_shapes[0])
        return
    each = (image.shape[0], image.shape[1] // groups, *image.shape[2:])
    one = replace(
        whole,
        op="conv2d",
        groups=1,
        shape=each,
        flops=whole.flops // groups,
        read_bytes=whole.read_bytes // groups,
        weight_bytes=whole.weight_bytes // groups,
        write_bytes=whole.write_bytes // groups,
    )
    for _ in range(groups):
        if last or image.shape[0] > 1:
            yield passes.copy(call, each)
        yield one
    made = math.prod(call.output_shapes[0])
    yield passes.part(call, "cat", made, made, strided=False)


def is_served(call: OpCall, scheme: str) -> bool:
    """Whether oneDNN runs a convolution at one go on this machine, with its present threads."""
    image, weight = call.operands[:2]
    attrs = call.attrs
    stride, dilation = spread(attrs["stride"], 1), spread(attrs["dilation"], 1)
    more = spread(attrs.get("output_padding", 0), 1)
    # Torch refuses its own transposed convolution where this holds.
    if attrs["transposed"] and max(more) >= min(stride):
        return False
    return convolves(
        scheme,
        image=image.shape,
        kernel=weight.shape[2:],
        groups=spread(attrs["groups"], 1)[0],
        spaced=max(*stride, *dilation) > 1,
    )
