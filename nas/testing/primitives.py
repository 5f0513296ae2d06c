"""What every primitive must do in the whole product, as tests to inherit; they need pytest.

Adds to `searchspace.testing` that a primitive can be traced, priced and exported. A primitive's
author writes, in a file that pytest collects::

    from nas.testing.primitives import PrimitiveContract

    class TestMine(PrimitiveContract):
        @pytest.fixture
        def primitive(self):
            return MINE
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import searchspace.build
from hwprofile.fuse import fuse
from hwprofile.kernel import SCHEMES
from hwprofile.trace import trace
from nas.export.source import module_source
from searchspace.architecture import Architecture
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.base import Primitive
from searchspace.testing import Example
from searchspace.testing import PrimitiveContract as _PrimitiveContract
from searchspace.tree import Node


class PrimitiveContract(_PrimitiveContract):
    """Inherit, give the fixture `primitive`, and pytest runs the rest."""

    @pytest.fixture(autouse=True)
    def known(self, primitive: Primitive, monkeypatch: pytest.MonkeyPatch) -> None:
        """The primitive is in the table while its tests run."""
        table = {**PRIMITIVES, primitive.name: primitive}
        monkeypatch.setattr(searchspace.build, "PRIMITIVES", table)

    def test_traces_and_has_a_price(self, served: Sequence[Example]) -> None:
        """Under every precision scheme, with the shape rule's output."""
        for example in served:
            module = example.build(merged=bool(example.primitive.merged))
            record = trace(module, (2, *example.spec.shape))
            assert record.output_shapes == ((2, *example.out.shape),)
            assert record.param_count == sum(p.numel() for p in module.parameters())
            for scheme in SCHEMES:
                for kernel in fuse(record, scheme):
                    assert min(kernel.read_bytes, kernel.weight_bytes, kernel.flops) >= 0

    def test_exports_to_a_file_that_needs_torch_alone(self, served: Sequence[Example]) -> None:
        """The file's network has the same parameters and computes the same."""
        for example in served:
            root = Node("network", 0, (), ((example.node,),))
            architecture = Architecture(space="contract", root=root)
            source = module_source(architecture, example.spec)
            for statement in ast.walk(ast.parse(source)):
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    for name in _imported(statement):
                        assert name in {"torch", "safetensors"} | sys.stdlib_module_names
            scope: dict[str, Any] = {"__name__": "exported"}
            exec(compile(source, "model.py", "exec"), scope)
            network = searchspace.build.build(root, example.spec).eval()
            written = scope["Network"]().eval()
            written.load_state_dict(network.state_dict())
            x = example.input()
            with torch.inference_mode():
                assert torch.equal(written(x), network(x))


def _imported(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.ImportFrom):
        return [(statement.module or "").split(".")[0]]
    return [alias.name.split(".")[0] for alias in statement.names]
