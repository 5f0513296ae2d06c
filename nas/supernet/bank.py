"""The weight bank: one set of weights that every network of a space is cut from.

Weight sharing by slices after OFA (Cai et al., arXiv 1908.09791) and BigNAS (Yu et al.,
2003.11142); one path at a time and statistics of batch norm made anew for each network after SPOS
(Guo et al., 1904.00420, section 3.4). `places` says which weights are shared.

Every tensor starts as its primitive initialises it, drawn from a generator of its own that the
bank's seed and the tensor's key decide: the order of asking and the process do not matter. Layer
scale starts at the published 1e-6 too: with AdamW, whose steps do not shrink with the gradient, 300
steps from 0.1 or from 1e-6 gave the same mean inherited accuracy on digits (0.952 and 0.952).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from nas.supernet.places import Architect, Slot, lasting_name
from nas.supernet.sizes import largest_relative
from searchspace.build import module_of
from searchspace.check import check
from searchspace.grammar import Grammar
from searchspace.shapes import TensorSpec
from searchspace.tree import Node


class BankError(ValueError):
    """A file of weights cannot be read, or belongs to another space, input or seed."""


class Candidate:
    """One network with its weights in a bank.

    The weights are views of the bank's tensors: gradients of a call in training reach those. The
    statistics of batch norm are the candidate's own.
    """

    def __init__(self, network: nn.Sequential, slots: list[Slot], bank: WeightBank) -> None:
        self._network, self._slots, self._bank = network, slots, bank
        self.statistics = {name: b.clone() for name, b in network.named_buffers()}
        """Buffers by name: running means and variances; `judge.recalibrate` fills them."""
        for slot in slots:
            bank.allocate(slot)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the tensors in the bank that it computes with, sorted, each once."""
        return tuple(sorted({slot.key for slot in self._slots}))

    def weights(self) -> dict[str, Tensor]:
        """Its weights by parameter name: views of the bank's tensors."""
        tensors = self._bank.tensors
        return {s.name: tensors[s.key] if s.whole else tensors[s.key][s.index] for s in self._slots}

    def state(self) -> dict[str, Tensor]:
        """Copies of weights and statistics, as `load_state_dict` of the built network wants."""
        weights = {name: weight.detach().clone() for name, weight in self.weights().items()}
        return weights | {name: value.clone() for name, value in self.statistics.items()}

    def __call__(self, images: Tensor, *, training: bool) -> Tensor:
        """Logits `[batch, classes]`.

        Args:
            images: `[batch, C, H, W]` of the bank's spec.
            training: batch norm takes the batch's statistics and adds them to its own.
        """
        self._network.train(training)
        # A fast memory format for depthwise convolutions, and the same in training and judging.
        images = (
            images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images
        )
        logits: Tensor = functional_call(self._network, self.weights() | self.statistics, (images,))
        return logits

    def reset_statistics(self) -> None:
        """Forget what batch norm has seen."""
        for name, value in self.statistics.items():
            if name.endswith(("running_mean", "num_batches_tracked")):
                value.zero_()
            elif name.endswith("running_var"):
                value.fill_(1)


class WeightBank:
    """The shared weights of all networks of one (narrowed) grammar."""

    def __init__(self, grammar: Grammar, spec: TensorSpec, *, seed: int) -> None:
        """An empty bank: tensors come into being when first asked for.

        Args:
            grammar: the space, already narrowed; its domains decide how large tensors are.
            spec: input of the networks, in place of the grammar's own.
            seed: decides all initial values.
        """
        self.grammar, self.spec, self.seed = grammar, spec, seed
        self.tensors: dict[str, Tensor] = {}
        """Weights by key, float32, each a leaf that collects gradients."""
        self._architect = Architect(spec)

    def candidate(self, root: Node) -> Candidate:
        """The network of a tree, with its weights in this bank.

        Raises:
            TreeError: the bank's grammar does not generate the tree.
            ShapeError: a primitive does not serve the shape that reaches it.
        """
        check(self.grammar, root)
        network, slots = self._architect.lay_out(root, largest_relative(self.grammar, root))
        return Candidate(network, slots, self)

    def allocate(self, slot: Slot) -> None:
        """Make the tensor of a slot, unless it is there."""
        if slot.key not in self.tensors:
            self.tensors[slot.key] = self._initial(slot).requires_grad_()

    def state(self) -> dict[str, Tensor]:
        """Copies of all tensors by key."""
        return {key: self.tensors[key].detach().clone() for key in sorted(self.tensors)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave; tensors that are not in it start anew when asked for."""
        self.tensors = {key: t.detach().clone().requires_grad_() for key, t in state.items()}

    def identity(self) -> dict[str, str]:
        """What a stored bank must agree in: space, domains, input and seed."""
        domains = {name: d.values for name, d in self.grammar.domains.items()}
        said = f"{self.grammar.text}|{sorted(domains.items())}|{self.grammar.classes}"
        digest = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        return {
            "space": f"{self.grammar.name} {digest}",
            "input": str(self.spec),
            "seed": str(self.seed),
        }

    def save(self, path: Path) -> None:
        """Write all tensors as safetensors; a reader sees the old file or the new one."""
        write_tensors(path, self.state(), self.identity())

    @classmethod
    def load(cls, path: Path, grammar: Grammar, spec: TensorSpec, *, seed: int) -> WeightBank:
        """Read what `save` wrote.

        Raises:
            BankError: the file cannot be read, or is that of another space, input or seed.
        """
        bank = cls(grammar, spec, seed=seed)
        tensors, said = read_tensors(path)
        require_same(path, said, bank.identity())
        bank.restore(tensors)
        return bank

    def _initial(self, slot: Slot) -> Tensor:
        digest = hashlib.blake2b(f"{self.seed}|{slot.key}".encode(), digest_size=8).digest()
        with torch.random.fork_rng(devices=[]):
            # Primitives draw from the global generator, which is put back afterwards.
            torch.default_generator.manual_seed(int.from_bytes(digest, "little") >> 1)
            module = module_of(slot.origin)
        named = {lasting_name(slot.origin, name): p for name, p in module.named_parameters()}
        return named[slot.parameter].detach().clone()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """Write tensors with a header of text; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(dict(tensors), part, metadata=dict(said))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file of `write_tensors`.

    Raises:
        BankError: there is no such file, or it is no safetensors.
    """
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as fault:
        raise BankError(f"cannot read the weights in {path}: {fault}") from None


def require_same(path: Path, said: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise `BankError` unless a file's header says what is wanted."""
    for name, value in wanted.items():
        if said.get(name) != value:
            raise BankError(
                f"{path} was written for {name} {said.get(name, 'unknown')}, but this run has "
                f"{value}: delete the file to train anew, or give the settings it was made with"
            )


def gradients(tensors: Mapping[str, Tensor], keys: Iterable[str]) -> list[Tensor]:
    """Those of the named tensors that have a gradient, in order of their keys."""
    return [tensors[key] for key in sorted(set(keys)) if tensors[key].grad is not None]
