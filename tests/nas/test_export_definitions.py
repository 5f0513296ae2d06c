"""Source gathered with all that it uses, from packages that a plug-in might bring."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.export.definitions import Definitions
from nas.export.errors import ExportError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of layers that a plug-in might bring."""
    folder = tmp_path / "plugged_in"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "parts.py").write_text("BASE = 3\nSIZES: tuple[int, ...] = (BASE, 2 * BASE)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("plugged_in")]:
        del sys.modules[name]


def gathered(package: Path, name: str, text: str) -> Definitions:
    """What comes along with the class `Layer` of a module with this text."""
    (package / f"{name}.py").write_text(text)
    module = __import__(f"plugged_in.{name}", fromlist=["Layer"])
    definitions = Definitions({"Network": None})
    definitions.add(module.Layer)
    return definitions


def test_constants_helpers_and_imports_come_along(package: Path) -> None:
    definitions = gathered(
        package,
        "good",
        "import math\nimport json\nimport torch.nn.functional as F\nfrom torch import nn\n"
        "from .parts import SIZES\n\n# Why this is one.\nONE = 1\nUNUSED = 2\n\n"
        "def size(n: int = ONE) -> float:\n    return math.sqrt(n) * sum(SIZES)\n\n"
        "class Layer(nn.Module):\n    def forward(self, x):\n        return F.relu(x) * size()\n",
    )
    text = "\n".join(definitions.sources)
    assert "# Why this is one.\nONE = 1\n" in text
    assert "BASE = 3\nSIZES: tuple[int, ...] = (BASE, 2 * BASE)\n" in text
    assert [source.split("(")[0] for source in definitions.sources[-2:]] == [
        "def size",
        "class Layer",
    ]
    assert sorted(map(str, definitions.imports)) == [
        "from torch import nn",
        "from torch.nn import functional as F",
        "import math",
    ]
    assert "UNUSED" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy\nclass Layer:\n    x = numpy.pi\n", "imports numpy, but an exported layer"),
        (
            "from . import parts\nclass Layer:\n    x = parts.BASE\n",
            "import the class, function or",
        ),
        ("class Network:\n    pass\nclass Layer(Network):\n    pass\n", "rename the layer's"),
        ("def f():\n    class Layer:\n        pass\n    return Layer\nLayer = f()\n", "top level"),
    ],
)
def test_source_that_cannot_stand_alone(package: Path, text: str, message: str) -> None:
    number = sum(map(ord, text))
    with pytest.raises(ExportError, match=message):
        gathered(package, f"bad{number}", text)
