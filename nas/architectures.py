"""The architecture that a word of the command line stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hwprofile.kernel import SCHEMES
from nas.export.source_of import design_of
from nas.usage import UsageError
from searchspace.architecture import Architecture
from searchspace.build import flow
from searchspace.check import check
from searchspace.published import PUBLISHED, published
from searchspace.shapes import TensorSpec, image
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.tree import FLOAT

_TEXT = re.compile(r"\s*[A-Za-z_]\w*:\d")
"""How the text of a tree begins: a rule and the alternative that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An architecture and its input."""

    architecture: Architecture
    spec: TensorSpec
    """Input of its network."""
    name: str
    """What people call it: its space, or a name of its own."""


def find_architecture(
    word: str,
    *,
    space: str | None = None,
    key: str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
) -> Found:
    """Find an architecture, and make sure that it can be built.

    Args:
        word: a run's folder, an exported folder or file, the text of a tree, or the name of a
            published network; a file goes before a network of its name.
        space: the space of a tree given as text; of a file, the space that it must belong to.
        key: of a run, the key of another design of its front than the best.
        resolution: height and width of the input, instead of those of the file or space.
        classes: of a text or a published network: size of the output, instead of the space's or
            the published one.

    Raises:
        UsageError: the word is none of these, or the space of a text is not said.
        ExportError: the file or folder is damaged.
        TreeTextError: the text is not of the form.
        TreeError: the tree is not one of the space.
        ShapeError: a layer does not serve the shape that reaches it.
    """
    if _TEXT.match(word):
        if space is None:
            raise UsageError("the text of an architecture needs its space: --space NAME")
        grammar = load_space(space, classes=classes, schemes=(FLOAT, *SCHEMES))
        root = from_text(word)
        check(grammar, root)
        found = Found(
            architecture=Architecture(space=grammar.name, root=root),
            spec=grammar.input,
            name=grammar.name,
        )
    elif Path(word).exists():
        design = design_of(Path(word), key)
        architecture, spec = design.architecture, design.spec
        if space is not None:
            made = classes or flow(architecture.root, spec).channels
            grammar = load_space(space, spec=spec, classes=made, schemes=(FLOAT, *SCHEMES))
            check(grammar, architecture.root)
        found = Found(architecture=architecture, spec=spec, name=architecture.space)
    elif word in PUBLISHED:
        network = PUBLISHED[word]
        found = Found(
            architecture=published(word, classes=classes),
            spec=image(3, network.size, network.size),
            name=f"{word} · {network.space}",
        )
        if space is not None and space != network.space:
            raise UsageError(f"{word} is a network of the space {network.space}, not of {space}")
    else:
        raise UsageError(
            f"no file or folder '{word}'; give a run's folder, an exported folder or file, the "
            f"text of an architecture, or a published network: {', '.join(PUBLISHED)}"
        )
    spec = found.spec
    if resolution is not None:
        spec = image(spec.channels, resolution, resolution)
    flow(found.architecture.root, spec)
    return Found(architecture=found.architecture, spec=spec, name=found.name)
