"""Published networks as derived here against other packages' own code, on the same weights.

For each network: parameters as derived and as published, and the largest absolute difference of the
outputs, in double precision, from the same random weights, batch norm's statistics among them, on
the same random images. Weights are paired by kind and shape, in the order in which their modules
run, or are defined.

Needs timm; networks that timm lacks are compared with their authors' code where `--code` names a
folder that holds clones of `UniRepLKNet`, `Compact-Transformers` and
`lightweight-neural-architecture-search`.

    python -m benchmarks.published
    python -m benchmarks.published --code ~/clones --names unireplknet_tiny cct_7_3x1
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.latency.zoo import import_timm
from searchspace.build import build
from searchspace.published import PUBLISHED, published
from searchspace.shapes import image

TIMM = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "vovnet39": "vovnet39a",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "efficientnet_b0": "efficientnet_b0",
    "tinynet_a": "tinynet_a",
    "convnext_tiny": "convnext_tiny",
    "inception_next_tiny": "inception_next_tiny",
    "vit_b16": "vit_base_patch16_224",
    "mixer_b16": "mixer_b16_224",
}
"""timm's names."""
KINDS = {
    "gamma": "scale",
    "beta": "bias",
    "cls_token": "token",
    "pos_embed": "embedding",
    "positional_emb": "embedding",
}
"""Other packages' names of parameters that have another one here."""
BY_DEFINITION = {"deepmad_r18"}
"""Networks whose shortcuts run before the bodies, but are defined after them as here."""
BATCH = 2


def authors_unireplknet(code: Path) -> nn.Module:
    """UniRepLKNet-T in the form for training, from the authors' code."""
    sys.path.insert(0, str(code / "UniRepLKNet"))
    import unireplknet  # type: ignore[import-not-found]

    depths = unireplknet.UniRepLKNet_T_depths
    model: nn.Module = unireplknet.UniRepLKNet(depths=depths, dims=(80, 160, 320, 640))
    return model


def authors_cct(code: Path) -> nn.Module:
    """CCT-7/3x1 for images of 32 pixels, from the authors' code."""
    sys.path.insert(0, str(code / "Compact-Transformers"))
    from src.cct import cct_7_3x1_32  # type: ignore[import-not-found]

    model: nn.Module = cct_7_3x1_32()
    return model


def authors_deepmad(code: Path) -> nn.Module:
    """DeepMAD-R18, from the authors' code and their file of its structure."""
    root = code / "lightweight-neural-architecture-search"
    sys.path.insert(0, str(root / "tinynas/deploy/cnnnet"))
    from cnnnet import CnnNet  # type: ignore[import-not-found]

    text = (root / "configs/classification/models/deepmad-R18.txt").read_text()
    structure = ast.literal_eval(text)["best_structures"][0]
    # The misspelt argument is the one that is read.
    model: nn.Module = CnnNet(structure_info=structure, num_classes=1000, classfication=True)
    return model


AUTHORS: Mapping[str, Callable[[Path], nn.Module]] = {
    "deepmad_r18": authors_deepmad,
    "unireplknet_tiny": authors_unireplknet,
    "cct_7_3x1": authors_cct,
}


def reference(name: str, code: Path | None) -> nn.Module | None:
    """The other package's network, or None where there is none."""
    # What the packages print of their own choices is not part of the table.
    with redirect_stdout(sys.stderr):
        timm = import_timm()
        if name in TIMM:
            model: nn.Module = timm.create_model(TIMM[name])
            return model
        return AUTHORS[name](code) if code is not None and name in AUTHORS else None


def run_order(network: nn.Module, x: Tensor) -> list[nn.Module]:
    """The modules in the order in which they first run."""
    seen: dict[nn.Module, None] = {}
    handles = [
        module.register_forward_pre_hook(lambda module, _: seen.setdefault(module))
        for module in network.modules()
    ]
    network(x)
    for handle in handles:
        handle.remove()
    return list(seen)


def by_kind(modules: Iterable[nn.Module]) -> dict[tuple[str, tuple[int, ...]], list[Tensor]]:
    """Parameters and statistics by kind and shape, in the order of the modules.

    A 1 x 1 convolution counts as a linear layer; sizes of 1 before a vector do not count.
    """
    found = defaultdict(list)
    for module in modules:
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            kind, shape = KINDS.get(name, name), tuple(tensor.shape)
            if shape[2:] == (1, 1):
                shape = shape[:2]
            elif kind != "weight":
                shape = tuple(size for size in shape if size > 1)
            if name != "num_batches_tracked":
                found[kind, shape].append(tensor)
    return found


@torch.no_grad()
def randomise(network: nn.Module, generator: torch.Generator) -> None:
    """Values in place of initial ones that would hide faults: zeros, ones and layer scales."""
    for name, tensor in network.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_var"):
            tensor.copy_(0.75 + 0.5 * noise.sigmoid())
        elif name.endswith(("gamma", "scale")):
            tensor.copy_(0.2 * noise)
        elif tensor.is_floating_point():
            tensor.add_((0.1 if tensor.dim() < 2 else 0.01) * noise)


@torch.no_grad()
def difference(name: str, theirs: nn.Module) -> tuple[float, float]:
    """Largest absolute difference of the outputs, and the largest absolute output.

    Raises:
        ValueError: the networks do not have the same weights.
    """
    size = PUBLISHED[name].size
    ours = build(published(name).root, image(3, size, size)).double().eval()
    theirs = theirs.double().eval()
    generator = torch.Generator().manual_seed(0)
    randomise(theirs, generator)
    x = torch.randn(BATCH, 3, size, size, generator=generator, dtype=torch.float64)
    order = nn.Module.modules if name in BY_DEFINITION else partial(run_order, x=x)
    sources, targets = by_kind(order(theirs)), by_kind(order(ours))
    if {k: len(v) for k, v in sources.items()} != {k: len(v) for k, v in targets.items()}:
        odd = sorted(k for k in {**sources, **targets} if len(sources[k]) != len(targets[k]))
        raise ValueError(f"{name} must have the same kinds of weights; they differ in {odd}")
    for kind, tensors in targets.items():
        for target, source in zip(tensors, sources[kind], strict=True):
            target.copy_(source.reshape(target.shape))
    given = x
    if name == "tinynet_a":  # the tree holds its resolution; timm is given the smaller image
        given = nn.functional.interpolate(x, (192, 192), mode="bilinear", align_corners=False)
    expected = theirs(given)
    return float((ours(x) - expected).abs().max()), float(expected.abs().max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--code", type=Path, help="folder of clones of the authors' code")
    parser.add_argument("--names", nargs="*", default=list(PUBLISHED), help="which networks")
    arguments = parser.parse_args()
    print(f"{'network':20} {'derived':>12} {'published':>12} {'difference':>11} {'of outputs':>11}")
    for name in arguments.names:
        size = PUBLISHED[name].size
        with torch.device("meta"):
            network = build(published(name).root, image(3, size, size))
        count = sum(parameter.numel() for parameter in network.parameters())
        row = f"{name:20} {count:12,} {PUBLISHED[name].parameters:12,}"
        torch.manual_seed(0)
        theirs = reference(name, arguments.code)
        if theirs is None:
            print(f"{row} {'-':>11} {'-':>11}", flush=True)
            continue
        error, largest = difference(name, theirs)
        print(f"{row} {error:11.1e} {largest:11.3g}", flush=True)


if __name__ == "__main__":
    main()
