"""Who may import whom: nas → predictors → hwprofile → searchspace → kernels."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_ORDER = ("nas", "predictors", "hwprofile", "searchspace", "kernels")
_SEARCH = {"ray", "optuna", "pymoo"}


def imported(source: str, path: str) -> Iterator[str]:
    """Full names that a module imports, wherever in it; relative ones resolved by its path."""
    package = path.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "import_module",
            "__import__",
        ):
            first = node.args[0] if node.args else None
            yield first.value if isinstance(first, ast.Constant) else "<computed>"


def faults(source: str, path: str) -> list[str]:
    """What a module imports against the rules."""
    package, name = path.split("/")[0], path.split("/")[-1]
    tops = {full.split(".")[0] for full in imported(source, path)}
    wrong = set(_ORDER[: _ORDER.index(package)]) & tops
    if package in ("kernels", "searchspace", "hwprofile"):
        wrong |= tops & _SEARCH
    if path != "nas/cluster.py":
        wrong |= tops & {"ray"}
    if not name.endswith("_triton.py") and path not in ("kernels/aot.py", "kernels/toolchain.py"):
        wrong |= tops & {"triton"}
    return sorted(wrong)


def _modules() -> list[str]:
    return sorted(
        path.relative_to(_ROOT).as_posix()
        for package in _ORDER
        for path in (_ROOT / package).rglob("*.py")
    )


@pytest.mark.parametrize("path", _modules())
def test_imports_go_one_way(path):
    source = (_ROOT / path).read_text("utf-8")
    assert faults(source, path) == []


def test_all_five_packages_are_read():
    assert {path.split("/")[0] for path in _modules()} == set(_ORDER)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("kernels/a.py", "import searchspace.tree", ["searchspace"]),
        ("searchspace/a.py", "from nas.trial import Trial", ["nas"]),
        ("searchspace/primitives/a.py", "def f():\n    import hwprofile", ["hwprofile"]),
        ("hwprofile/a.py", "if TYPE_CHECKING:\n    from predictors import base", ["predictors"]),
        ("predictors/a.py", "from hwprofile import kernel\nimport optuna", []),
        ("hwprofile/a.py", "import optuna.samplers as s, pymoo", ["optuna", "pymoo"]),
        ("nas/a.py", "from ray import tune", ["ray"]),
        ("nas/cluster.py", "from ray import tune", []),
        ("nas/report/cluster.py", "import ray", ["ray"]),
        ("nas/a.py", "import importlib\nimportlib.import_module('ray.tune')", ["ray"]),
        ("kernels/a.py", "import triton.language as tl", ["triton"]),
        ("kernels/a_triton.py", "import triton.language as tl", []),
        ("kernels/aot.py", "import triton", []),
        ("nas/aot.py", "import triton", ["triton"]),
        ("searchspace/a.py", "from . import tree\nfrom .tree import Node", []),
        ("searchspace/primitives/a.py", "from ...nas import trial", ["nas"]),
        ("searchspace/a.py", "from kernels_of import x\nimport rayon, nasty", []),
    ],
)
def test_the_rules_themselves(path, source, expected):
    assert faults(source, path) == expected
