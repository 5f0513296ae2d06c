"""This machine's CPU as a target: kernels are priced from rows that it measured itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hwprofile.cpu_model import UNMEASURED, CpuModel, load_model
from hwprofile.cpu_table import read_cpu_profile
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.machine import Machine, machine_of
from hwprofile.profile_place import profile_path
from hwprofile.profile_table import NoProfileError
from hwprofile.runtime import Runtime
from hwprofile.target import Target


@dataclass(kw_only=True)
class CpuTarget(Target):
    """Prices kernels on this machine's CPU, each once."""

    machine: Machine
    """Where the rows were measured."""
    runtime: Runtime
    model: CpuModel
    """What was fitted on them."""
    facts: dict[str, Any]
    """When, and how long."""
    coverage: float = 0.9
    name: str = "cpu"
    default_scheme: str = "fp32"
    _prices: dict[Kernel, Estimate] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.schemes = tuple(self.model.called)

    def alone(self, kernel: Kernel) -> Estimate:
        """As `Target.alone`."""
        return self.alone_all([kernel])[0]

    def price(self, kernel: Kernel) -> Estimate:
        """As `Target.price`."""
        return self.price_all([kernel])[0]

    def price_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """As `Target.price_all`."""
        asked = list(kernels)
        new = [kernel for kernel in dict.fromkeys(asked) if kernel not in self._prices]
        for kernel, estimate in zip(new, self.alone_all(new), strict=True):
            self._prices[kernel] = self._within(kernel, estimate)
        return [self._prices[kernel] for kernel in asked]

    def _within(self, kernel: Kernel, alone: Estimate) -> Estimate:
        """What a call takes in a network, as the networks say that were measured whole."""
        found = self.model.networks.get(kernel.scheme)
        if found is None:
            return alone
        return found.ranged(alone.value * found.factor(kernel.op), self.coverage)

    def alone_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """As `Target.alone_all`."""
        kernels = list(kernels)
        found: dict[int, Estimate] = {}
        for scheme in {kernel.scheme for kernel in kernels}:
            if scheme not in self.schemes:
                raise ValueError(
                    f"a CPU's kernels are of {' or '.join(self.schemes)}; got {scheme!r}: give "
                    "--precision"
                )
            places = [i for i, kernel in enumerate(kernels) if kernel.scheme == scheme]
            times = self.model([kernels[i] for i in places], scheme)
            for i, time in zip(places, times.tolist(), strict=True):
                low, high = self._ends(kernels[i])
                found[i] = Estimate(value=time, low=time * low, high=time * high)
        return [found[i] for i in range(len(kernels))]

    def describe(self) -> str:
        """As `Target.describe`."""
        machine = self.machine
        lines = [
            f"cpu: {machine.device}, {machine.threads} threads, {machine.instructions}, "
            f"torch {machine.torch}",
            f"  runtime {self.runtime.name}: {self.runtime.summary}",
        ]
        for scheme in self.schemes:
            lines.append(
                f"  {scheme}: {self.model.rows[scheme]} measured rows, median error of rows left "
                f"out {self.model.errors[scheme]:.1%}"
            )
            if found := self.model.networks.get(scheme):
                lines.append(
                    f"    corrected by {found.networks} networks measured whole: median error "
                    f"{found.error_before:.1%} before, {found.error_after:.1%} where left out; a "
                    f"network's 90 % range is {found.low:.2f} to {found.high:.2f}"
                )
        seconds = self.facts.get("seconds")
        lines.append(f"  measured {self.facts.get('finished')}, in {seconds} s")
        lines.append(f"  range of a price, as shares of it, for {self.coverage:.0%} coverage:")
        for scheme, spreads in self.model.spreads.items():
            for family, spread in sorted(spreads.items()):
                low, high = spread.ends(self.coverage)
                lines.append(f"    {scheme} {family or 'all others'}: {low:.2f} to {high:.2f}")
        return "\n".join(lines)

    def _ends(self, kernel: Kernel) -> tuple[float, float]:
        if not self.model.knows(kernel):
            return UNMEASURED.ends(self.coverage)
        spreads = self.model.spreads[kernel.scheme]
        return (spreads.get(kernel.op) or spreads[""]).ends(self.coverage)


def cpu_target(*, runtime: Runtime, coverage: float, path: Path | None = None) -> CpuTarget:
    """This machine's CPU.

    Args:
        runtime: what runs networks.
        coverage: share of measurements that ranges are to hold.
        path: of the profile; by default where `nas profile --target cpu` puts it.

    Raises:
        NoProfileError: there is no profile yet.
        ProfileError: it is of another machine, version or schema, or has wrong rows.
    """
    machine = machine_of(torch.device("cpu"))
    path = path or profile_path(machine)
    if not path.is_file():
        raise NoProfileError(
            f"this machine's CPU was not measured yet ({path}): nas profile --target cpu --yes"
        )
    profile = read_cpu_profile(path, machine)
    model = load_model(profile, path, runtime)
    return CpuTarget(
        machine=profile.machine,
        runtime=runtime,
        model=model,
        facts=dict(profile.facts),
        coverage=coverage,
    )
