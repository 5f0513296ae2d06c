"""A module's own forward as a graph, in which its children are single nodes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

_PLAIN = (type(None), bool, int, float, str)
_BOUND = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class GraphError(ValueError):
    """A forward that cannot be written as a graph; the message says why."""


class ForwardTracer(fx.Tracer):
    """Traces one forward for the arguments of one call.

    Branches and loops that hang on shapes are taken as that call took them, for which its values
    are worked out as far as they are asked for. What is no tensor is a constant of the graph.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Take the arguments of the call by the names of the forward's parameters."""
        super().__init__()
        self.arguments = arguments
        self._values: dict[fx.Node, Any] = {}
        self._working_out = False

    def value(self, node: fx.Node) -> Any:
        """What a node is in the call."""
        if node not in self._values:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self.value)
            self._working_out, before = True, self._working_out
            try:
                with torch.no_grad():
                    self._values[node] = self._run(node, args, kwargs)
            finally:
                self._working_out = before
        return self._values[node]

    def _run(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if node.op == "placeholder":
            return self.arguments[str(node.target)]
        if node.op == "call_function":
            assert callable(node.target)
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        path, _, name = str(node.target).rpartition(".")
        found = getattr(self.root.get_submodule(path), name)
        return found(*args, **kwargs) if node.op == "call_module" else found

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Every child is one node."""
        return True

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Record a child's call, or make it."""
        if self._working_out:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Record the reading of a parameter, or read it."""
        if self._working_out:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Take the branch that the call took."""
        return bool(self.value(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Go through as many elements as the call did."""
        count = len(self.value(obj.node))
        return iter(
            [self.create_proxy("call_function", getitem, (obj, i), {}) for i in range(count)]
        )

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make the graph's inputs: all parameters, of which only the call's tensors are used."""
        args: list[Any] = [self.root]
        for parameter in [*inspect.signature(root_fn).parameters.values()][1:]:
            given = self.arguments.get(parameter.name, parameter.default)
            if parameter.kind not in _BOUND:
                if parameter.name in self.arguments:
                    raise GraphError(f"its forward is given {parameter.kind.description} arguments")
                continue
            if not isinstance(given, (Tensor, *_PLAIN)):
                raise GraphError(f"its forward is given a {type(given).__name__}")
            default = parameter.default if isinstance(given, Tensor) else given
            known = () if default is inspect.Parameter.empty else (default,)
            proxy = self.create_proxy("placeholder", parameter.name, known, {})
            args.append(proxy if isinstance(given, Tensor) else given)
        return root_fn, args
