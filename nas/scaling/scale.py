"""From words to a scaled network: finds the architecture and its space, and solves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwprofile.kernel import SCHEMES
from hwprofile.target import Target
from nas.architectures import find_architecture
from nas.export.folder import export
from nas.scaling.programme import Answer, Point, Programme, Wanted
from nas.scaling.rules import Rule, fast, tiny
from nas.usage import UsageError
from searchspace.architecture import Architecture
from searchspace.build import flow
from searchspace.grammar import Grammar
from searchspace.shapes import TensorSpec, image
from searchspace.space import UnknownSpaceError, load_space
from searchspace.tree import FLOAT, Node, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A scaled network, and what it was made from and for."""

    name: str
    """What people call the network that was scaled."""
    space: str
    """Name of its space."""
    rule: Rule
    """The rule."""
    wanted: Wanted
    """What it may cost."""
    answer: Answer
    """What was found."""
    channels: int
    """Channels of the input."""
    target: str | None
    """Name of the device, if one was given."""
    batch: int
    """Images in one forward pass, for the latency."""
    precision: str
    """Number format, for the latency."""

    def architecture(self, point: Point) -> Architecture:
        """The architecture of a point."""
        return Architecture(space=self.space, root=point.root)

    def spec(self, point: Point) -> TensorSpec:
        """The input of its network."""
        return image(self.channels, point.size, point.size)


def scale(
    word: str,
    *,
    macs: int | None = None,
    params: int | None = None,
    budget_ms: float | None = None,
    rule: str = "fast",
    alpha: float | None = None,
    same_input: bool = False,
    target: Target | None = None,
    batch: int = 1,
    precision: str = "fp16",
    space: str | None = None,
    key: str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
) -> Done:
    """Scale an architecture to the network of its space that comes nearest to what is wanted.

    Args:
        word: the architecture; with `space`, `key`, `resolution` and `classes` as in
            `nas.architectures.find_architecture`.
        macs, params, budget_ms: what the network may cost, at least one of them; a budget needs
            `target`.
        rule: `fast` or `tiny`.
        alpha: of `fast`; None for the paper's.
        same_input: leave the size of the input.
        target: what latency is predicted for.
        batch, precision: what the latency is for.

    Raises:
        ScaleError: no scale of the rule keeps what is wanted, or comes up to it.
        UsageError, UnknownSpaceError, UnknownTargetError, ExportError, TreeError: a word names
            nothing, or something damaged.
    """
    found = find_architecture(word, space=space, key=key, resolution=resolution, classes=classes)
    root = found.architecture.root
    chosen = tiny() if rule == "tiny" else fast() if alpha is None else fast(alpha)
    wanted = Wanted(macs=macs, params=params, budget_ms=budget_ms)
    programme = Programme(
        _grammar(space or found.architecture.space, root, found.spec),
        root,
        chosen,
        target=target,
        batch=batch,
        precision=precision,
        same_input=same_input,
    )
    return Done(
        name=found.name,
        space=found.architecture.space,
        rule=chosen,
        wanted=wanted,
        answer=programme.solve(wanted),
        channels=found.spec.channels,
        target=target.name if target is not None else None,
        batch=batch,
        precision=precision,
    )


def _grammar(space: str, root: Node, spec: TensorSpec) -> Grammar:
    """The network's space, with the precision schemes that its blocks have."""
    used = {node.scheme for _, node in walk(root) if node.scheme}
    schemes = (FLOAT, *(scheme for scheme in SCHEMES if scheme in used))
    try:
        return load_space(space, spec=spec, classes=flow(root, spec).channels, schemes=schemes)
    except UnknownSpaceError as fault:
        raise UsageError(f"{fault} by --space FILE") from None


def export_scaled(done: Done, folder: Path) -> Path:
    """Export the scaled network, with its figures.

    Raises:
        ExportError, OSError: see `nas.export.folder.export`.
    """
    after = done.answer.after
    facts: dict[str, int | float | str] = {"macs": after.macs, "params": after.params}
    if after.latency is not None and done.target is not None:
        facts |= {
            "latency_ms": after.latency.value,
            "low_ms": after.latency.low,
            "high_ms": after.latency.high,
            "target": done.target,
            "batch": done.batch,
            "precision": done.precision,
        }
    facts |= {"scaled_from": done.architecture(done.answer.before).key, "rule": done.rule.name}
    facts["scale"] = after.scale
    return export(done.architecture(after), done.spec(after), folder, facts=facts)
