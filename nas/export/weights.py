"""Weights of an architecture: drawn or taken over, written, and read back with strict checks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nas.export.errors import ExportError
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.shapes import TensorSpec

WEIGHTS = "model.safetensors"
"""Name of the weights file in an exported folder."""
_TRAINED, _FRESH = "trained", "freshly initialised"


def fresh(architecture: Architecture, spec: TensorSpec, seed: int) -> nn.Sequential:
    """The network with initial values drawn from `seed`; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(architecture.root, spec)


def packed(
    architecture: Architecture,
    spec: TensorSpec,
    weights: nn.Module | None,
    *,
    trained: bool,
    seed: int | None,
) -> bytes:
    """The contents of a weights file.

    Args:
        architecture: whose weights they are.
        spec: its input, without the batch.
        weights: a network that has them, unmerged; none: fresh values.
        trained: whether they were trained; is noted in the file.
        seed: what fresh values are drawn from, 0 if None; is noted in the file if known.

    Raises:
        ExportError: the names or shapes are not those of the architecture.
    """
    network = fresh(architecture, spec, seed or 0) if weights is None else weights
    state: dict[str, Tensor] = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }
    _check(architecture, spec, {name: tuple(tensor.shape) for name, tensor in state.items()})
    metadata = {
        "format": "pt",
        "key": architecture.key,
        "weights": _TRAINED if trained else _FRESH,
    }
    if seed is not None:
        metadata["seed"] = str(seed)
    return save(state, metadata)


def are_trained(path: Path) -> bool:
    """Whether a weights file says that its weights were trained.

    Raises:
        ExportError: the file is missing or damaged.
    """
    metadata, _ = _read(path)
    return metadata.get("weights") == _TRAINED


class LoadedNetwork(nn.Sequential):
    """A network read from an export, with the methods that its `model.py` has."""

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map of each resolution, as detectors and segmenters take them."""
        maps: list[Tensor] = []
        came = None
        for part in self:
            left = part(x)
            if came is not None and (left.dim() != 4 or left.shape[2:] != came.shape[2:]):
                maps.append(came)
            if left.dim() != 4:
                return maps
            x = came = left
        return maps if came is None else [*maps, came]

    def merge(self) -> None:
        """Replace parallel branches by the one layer that equals them in eval mode."""
        for module in list(self.modules()):
            merge = getattr(module, "merge", None)
            if module is not self and callable(merge):
                merge()


def loaded(architecture: Architecture, spec: TensorSpec, path: Path) -> LoadedNetwork:
    """The network of an architecture with the weights of a file.

    Raises:
        ExportError: the file is missing or damaged, or holds another network's weights.
    """
    metadata, state = _read(path)
    key = metadata.get("key", architecture.key)
    if key != architecture.key:
        raise ExportError(
            f"{path} holds weights of architecture {key}, not of {architecture.key}: put the "
            "weights and the architecture.json of one export together"
        )
    try:
        _check(architecture, spec, {name: tuple(tensor.shape) for name, tensor in state.items()})
    except ExportError as fault:
        raise ExportError(f"{path}: {fault}") from None
    network = fresh(architecture, spec, seed=0)
    network.load_state_dict(state)
    return LoadedNetwork(OrderedDict(network.named_children()))


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise ExportError(f"{path} is missing: export the architecture again, or restore the file")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as fault:
        raise ExportError(
            f"{path} is damaged ({fault}): export the architecture again, or restore the file"
        ) from None


def _check(
    architecture: Architecture, spec: TensorSpec, got: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise unless names and shapes are those that the architecture builds."""
    with torch.device("meta"):
        expected = build(architecture.root, spec).state_dict()
    lacking = [name for name in expected if name not in got]
    foreign = [name for name in got if name not in expected]
    if lacking or foreign:
        what = f"lack '{lacking[0]}'" if lacking else f"have '{foreign[0]}', which it lacks"
        raise ExportError(
            f"the weights {what}, so they do not fit architecture {architecture.key}: give the "
            "state of the plain network, neither merged, compiled nor wrapped"
        )
    for name, tensor in expected.items():
        if got[name] != tuple(tensor.shape):
            raise ExportError(
                f"the weights' '{name}' has shape {list(got[name])}, but architecture "
                f"{architecture.key} needs {list(tensor.shape)}: give the weights of this "
                "architecture, for the same input and classes"
            )
