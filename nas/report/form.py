"""What a design looks like, for programs: its stages, and its DeepMAD structure if it has one.

Documented in `docs/json.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from hwprofile.blocks import BlockTable
from nas.report.architecture import describe
from nas.solver.structures import structure_of
from predictors.deepmad import Form, deepmad
from predictors.entropy import height_of
from predictors.structure import Structure, StructureError, write_structure
from predictors.structure_cost import counts
from searchspace.architecture import Architecture
from searchspace.build import primitive_of
from searchspace.shapes import TensorSpec
from searchspace.tree import FLOAT, Node, units, walk

SHORTCUTS = (
    "some shortcuts are not those of DeepMAD's blocks: the structure has the design's score, not "
    "its costs"
)
"""What is said of structures that a tree is but for its shortcuts."""


def form(architecture: Architecture, table: BlockTable) -> dict[str, Any]:
    """The stages of a tree, and the structure that it is or why it is none.

    Args:
        architecture: any tree of the space.
        table: traces its blocks; has the networks' input.
    """
    return {**_structure(architecture, table.spec), "stages": list(_stages(architecture, table))}


def _structure(architecture: Architecture, spec: TensorSpec) -> dict[str, Any]:
    """`structure`, and its figures or the reason why there is none."""
    try:
        if any(node.scheme not in ("", FLOAT) for _, node in walk(architecture.root)):
            raise StructureError("some blocks have a precision of their own")
        if spec.mode != "image":
            raise StructureError(f"structures take images; got {spec.mode}")
        differs = {}
        try:
            structure = structure_of(architecture, channels=spec.channels)
        except StructureError:
            structure = structure_of(architecture, channels=spec.channels, any_shortcut=True)
            differs = {"structure_differs": SHORTCUTS}
        return {
            "structure": write_structure(structure),
            "structure_figures": figures(structure, spec.height),
            **differs,
        }
    except StructureError as fault:
        return {"structure": None, "why_no_structure": str(fault)}


def figures(structure: Structure, resolution: int) -> dict[str, Any]:
    """What `predictors` says of a structure, in the paper's form and in the toolbox's.

    Raises:
        StructureError: the resolution does not suit the structure.
    """
    cost = counts(structure, resolution)
    found: dict[str, Any] = {
        "resolution": resolution,
        "params": int(cost.params),
        "macs": int(cost.macs),
        "flops": int(cost.flops),
    }
    for name in get_args(Form):
        try:
            score = deepmad(structure, resolution, form=name)
        except StructureError as fault:
            found[name] = {"score": None, "reason": str(fault)}
        else:
            found[name] = {
                "score": float(score.value),
                "effectiveness": float(score.effectiveness),
            }
    return found


def _stages(architecture: Architecture, table: BlockTable) -> Iterator[dict[str, Any]]:
    """One row for each item of the start rule, first to last."""
    spec = table.spec
    for group in architecture.root.children:
        if not group:
            continue  # an item that is repeated no times
        costs = table.costs_of(group, spec)
        left = costs.blocks[-1].left
        yield {
            "symbol": group[0].symbol,
            "depth": len(costs.blocks),
            "in": _side(spec),
            "out": _side(left),
            "kernels": _kernels(group),
            "blocks": _kinds(group),
            "params": costs.params,
            "macs": costs.macs,
        }
        spec = left


def _side(spec: TensorSpec) -> dict[str, Any]:
    """Channels, and the height that a map has, or that tokens would fill."""
    return {
        "channels": spec.channels,
        "height": None if spec.mode == "vector" else height_of(spec),
    }


def _kernels(group: Sequence[Node]) -> list[int]:
    """Kernel sizes that are parameters of the blocks' primitives, each once, rising."""
    found = set()
    for root in group:
        for _, node in walk(root):
            if node.is_primitive:
                kernel = primitive_of(node).named(node.values).get("kernel")
                if isinstance(kernel, int):
                    found.add(kernel)
    return sorted(found)


def _kinds(group: Sequence[Node]) -> list[dict[str, Any]]:
    """Distinct blocks with their numbers, in the order of their first."""
    counted = Counter(describe(node) for root in group for _, node in units(root))
    return [{"count": count, "block": block} for block, count in counted.items()]
