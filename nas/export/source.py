"""A network as one readable file that needs torch alone.

The file's `Network` comes from the same plan as `searchspace.build.build`, so its parameters have
the same names and weights pass between the two.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

from nas.export.definitions import Definitions, Import
from nas.export.errors import ExportError
from nas.export.facts import Facts, described
from nas.export.layout import WIDTH, Nest, lines
from nas.export.network import batched, network_lines, primitives_of
from nas.export.weights import WEIGHTS
from searchspace.architecture import Architecture
from searchspace.build import Part, flow, plan
from searchspace.shapes import TensorSpec
from searchspace.tree import FLOAT, Node, walk

_OWN = (
    Import("__future__", "annotations"),
    Import("pathlib", "Path"),
    Import("torch"),
    Import("torch", "Tensor"),
    Import("torch", "nn"),
)
_MAIN = '''\
def main() -> None:
    """Build the network, load the weights beside this file if there are any, and run it once."""
    network = Network().eval()
    weights = Path(__file__).with_name("{weights}")
    if weights.exists():
        from safetensors.torch import load_file

        network.load_state_dict(load_file(weights))
    x = torch.randn({shape})
    with torch.inference_mode():
        y = network(x)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{{list(x.shape)}} -> {{list(y.shape)}}, {{count:,}} parameters")


if __name__ == "__main__":
    main()
'''


def module_source(
    architecture: Architecture, spec: TensorSpec, *, facts: Facts | None = None
) -> str:
    """The text of a `model.py` with the class `Network`; importing it needs torch alone.

    Args:
        architecture: what to write.
        spec: the input, without the batch.
        facts: figures for the file's opening lines, such as `params` or `latency_ms`.

    Raises:
        ShapeError: a primitive does not serve the shape that reaches it.
        ExportError: a layer's source cannot stand alone, or a rule's name is none.
    """
    check_names(architecture)
    parts = plan(architecture.root, spec)
    definitions = Definitions({i.bound: i for i in _OWN} | {"Network": None, "main": None})
    for primitive in primitives_of(parts):
        for thing in (*primitive.needs, primitive.module):
            definitions.add(thing)
    header = "\n".join(_header(architecture, spec, facts or {}))
    imports = _import_lines(definitions.imports | set(_OWN))
    network = "\n".join(
        [*_notice(schemes(architecture, spec)), *network_lines(architecture.root, spec)]
    )
    main = _MAIN.format(weights=WEIGHTS, shape=", ".join(map(str, (1, *spec.shape))))
    sections = [f"{header}\n\n{imports}", *definitions.sources, network, main]
    return "\n\n\n".join(sections)


def check_names(architecture: Architecture) -> None:
    """Raise unless every name in an architecture is a word, as in a grammar file.

    Names become source. In a tree that came from a file they could be anything, code included.

    Raises:
        ExportError: one is not.
    """
    names = {architecture.space}
    for _, node in walk(architecture.root):
        names |= {node.symbol, node.scheme or FLOAT}
    for name in sorted(names):
        if not (name.isidentifier() and name.isascii()):
            raise ExportError(
                f"spaces, rules and schemes have names of letters, digits and _; got {name[:60]!r}"
            )


def schemes(architecture: Architecture, spec: TensorSpec) -> dict[str, list[str]]:
    """Module paths of the blocks that were searched in another precision, by scheme."""
    found: dict[str, list[str]] = {}
    parts = plan(architecture.root, spec)
    for part, node in zip(parts, architecture.root.flat(), strict=True):
        for path, scheme in _schemes(part, node):
            if scheme not in ("", FLOAT):
                found.setdefault(scheme, []).append(path)
    return found


def _notice(found: dict[str, list[str]]) -> Iterator[str]:
    """A comment about blocks that were searched in another precision than they are built in."""
    if not found:
        return
    yield "# The search chose another precision for these parts. They are in floating point here:"
    yield "# quantized layers come in a later release."
    for scheme, paths in found.items():
        for row in textwrap.wrap(f"{scheme}: {', '.join(paths)}", WIDTH - 4):
            yield f"#   {row}"


def _schemes(part: Part, node: Node, prefix: str = "") -> Iterator[tuple[str, str]]:
    path = prefix + part.name
    rows = [inner for inner in part.content if isinstance(inner, Part)]
    if not rows:
        yield path, node.scheme
    for inner, child in zip(rows, node.flat() if rows else (), strict=True):
        yield from _schemes(inner, child, f"{path}.")


def _header(architecture: Architecture, spec: TensorSpec, facts: Facts) -> Iterator[str]:
    out = flow(architecture.root, spec)
    yield f'"""Architecture {architecture.key} of the space {architecture.space}.'
    yield ""
    yield f"Maps {batched(spec)} to {batched(out)}."
    rows = described(facts)
    if rows:
        yield ""
    for label, value in rows:
        yield from _wrapped(f"{label}: {value}".replace("\\", "/").replace('"', "'"), "    ")
    yield ""
    yield from _wrapped(
        "Importing this file needs torch alone. `python model.py` runs the network once, with the "
        f"weights in {WEIGHTS} if they lie beside it (that needs safetensors too)."
    )
    yield ""
    yield "Dimension letters: B batch, C channels, H height, W width."
    yield '"""'


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _import_lines(imports: set[Import]) -> str:
    """Import statements in the order that isort gives them."""
    sections: dict[int, list[str]] = {}
    plain = sorted(i for i in imports if not i.name)
    members = sorted((i for i in imports if i.name), key=lambda i: (i.module, _rank(i.name)))
    for found in plain:
        sections.setdefault(_section(found), []).append(str(found))
    for found in members:
        rows = sections.setdefault(_section(found), [])
        start = f"from {found.module} import "
        if not found.alias and rows and rows[-1].startswith(start) and " as " not in rows[-1]:
            rows[-1] += f", {found.name}"
        else:
            rows.append(str(found))
    return "\n\n".join("\n".join(map(_folded, rows)) for _, rows in sorted(sections.items()))


def _folded(row: str) -> str:
    """An import that is too long for a line, a name a line."""
    if len(row) <= WIDTH:
        return row
    start, _, names = row.partition(" import ")
    return "\n".join(lines(Nest(f"{start} import (", tuple(names.split(", "))), 0))


def _section(found: Import) -> int:
    top = found.module.split(".")[0]
    return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name
