"""What forwards compute by functions, put into modules, so that it can be replaced as modules are.

`F.relu(self.norm(x))` becomes the call of a module beside `norm`. The class that does so is a graph
made from the forward, with the same children. It is kept only if it returns what the original does.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from nas.rewrite.check import difference, full_float32, run
from nas.rewrite.flow import Flow
from nas.rewrite.forward_graph import ForwardTracer
from nas.rewrite.lifts import is_constant, is_known, lifted
from nas.rewrite.multihead import MultiheadAttention, refusal
from nas.rewrite.patterns import activation_of, affine_of, meddled, pattern_of
from nas.rewrite.report import Left

# A forward that is given symbols for tensors may fail in any of these ways.
_FAULTS = (
    *(ValueError, TypeError, RuntimeError, AttributeError, LookupError, NameError),
    *(AssertionError, ArithmeticError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """One module whose functions are modules now."""

    path: str
    """Its path."""
    original: nn.Module
    """What stood there."""
    module: nn.Module
    """What takes its place: the same children, and those in `new`."""
    new: tuple[str, ...]
    """Paths of the modules that stand for functions."""


def lift(
    network: nn.Module, flow: Flow, inputs: Sequence[Tensor], tolerance: float
) -> tuple[list[Lifted], list[Left]]:
    """Find the modules whose forward calls functions that there are modules for, and lift them.

    Args:
        network: runs, and is not changed.
        flow: from a trace of it.
        inputs: of the network.
        tolerance: as in `nas.rewrite.report.TOLERANCES`.

    Returns:
        What was lifted, and what could not be, with reasons.
    """
    running: list[str] = []
    lifts = [
        _Lift(path, network.get_submodule(path), flow.leaving(path), running)
        for path in _candidates(network, flow)
    ]
    if not lifts:
        return [], []
    with contextlib.ExitStack() as hooks, torch.no_grad(), full_float32():
        for each in lifts:
            before = each.original.register_forward_pre_hook(each.enter, with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(each.original.register_forward_hook(each.leave(tolerance)).remove)
        run(network, inputs)
    found = [each.result() for each in lifts if each.fault is None]
    left = [
        Left(path=each.path, kind=type(each.original).__name__, reason=each.fault)
        for each in lifts
        if each.fault is not None
    ]
    return [each for each in found if each is not None], left


def _candidates(network: nn.Module, flow: Flow) -> list[str]:
    """Paths of modules that call known functions themselves and are not replaced whole."""
    found = []
    whole: list[str] = []
    for path, module in network.named_modules():
        if type(module).forward is nn.TransformerEncoderLayer.forward:
            whole.append(f"{path}.self_attn" if path else "self_attn")  # It looks into that.
        if any(f"{path}.".startswith(f"{parent}.") for parent in whole):
            continue
        calls = flow.at(path)
        if pattern_of(module) is not None:
            whole.append(path)
        elif (_is_multihead(module) and calls and meddled(module) is None) or (
            any(is_known(call.op) for call in calls) and _is_own(module)
        ):
            found.append(path)
    return found


def _is_own(module: nn.Module) -> bool:
    """Whether a module is neither torch's nor one that a layer takes in, and as its class says."""
    return (
        not type(module).__module__.startswith("torch.nn.")
        and activation_of(module) is None
        and affine_of(module) is None
        and meddled(module, inside=False) is None
    )


class _Lift:
    """One candidate, from its first call on.

    While the graph of one runs, the others, which may lie within it, do nothing: `running`, which
    all share, holds the path of the one.
    """

    def __init__(self, path: str, original: nn.Module, leaving: int, running: list[str]) -> None:
        self.path, self.original, self.leaving = path, original, leaving
        self._running = running
        self.fault: str | None = None
        self._given: dict[str, Any] | None = None
        self._module: nn.Module | None = None
        self._new: list[str] = []
        self._made: list[Any] = []

    def result(self) -> Lifted | None:
        """None if there was nothing to lift."""
        if self._module is None or not self._new:
            return None
        return Lifted(
            path=self.path,
            original=self.original,
            module=self._module,
            new=tuple(f"{self.path}.{name}" if self.path else name for name in self._new),
        )

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the graph at the first call, and run it on copies of what the module is given."""
        if self.fault is not None or self._running:
            return
        self._running.append(self.path)
        try:
            if self._given is None:
                bound = inspect.signature(self.original.forward).bind(*args, **kwargs)
                self._given = bound.arguments
                if _is_multihead(self.original):
                    self._take_apart(self.original, self._given)
                else:
                    self._make(ForwardTracer(_copy(self._given)))
            if self._module is not None:
                self._made.append(self._module(*_copy(args), **_copy(kwargs)))
        except _FAULTS as fault:
            line = next(iter(str(fault).strip().splitlines()), "")
            self.fault = f"its forward cannot be written as a graph: {line or type(fault).__name__}"
        finally:
            self._running.clear()

    def leave(self, tolerance: float) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """The hook that compares what the graph returned with what the module did."""

        def compare(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            if self.fault is not None or self._running or not self._made:
                return
            expected, found = _tensors(result), _tensors(self._made.pop())
            # The weights of an attention are left out where nobody reads them.
            expected = expected[: 1 if _is_multihead(module) else None]
            pairs = zip(expected, found, strict=False)
            same = len(expected) == len(found)
            if not same or not all(difference(a, b) <= tolerance for a, b in pairs):
                self.fault = "its forward written as a graph returns something else"

        return compare

    def _take_apart(self, attention: nn.Module, given: dict[str, Any]) -> None:
        assert isinstance(attention, nn.MultiheadAttention)
        self.fault = refusal(attention, given, self.leaving)
        if self.fault is None:
            q, k, v = (given[name] for name in ("query", "key", "value"))
            module = MultiheadAttention(attention, alike=q is k and k is v)
            self._new = [name for name, _ in module.named_modules() if name]
            self._module = module.eval()

    def _make(self, tracer: ForwardTracer) -> None:
        graph = tracer.trace(self.original)
        parts = {
            str(node.target): _part(self.original, str(node.target))
            for node in graph.nodes
            if node.op in ("call_module", "get_attr")
        }
        # All values are asked for before the graph changes.
        made = [(node, lifted(node, tracer.value)) for node in graph.nodes]
        for node, found in made:
            if found is None:
                continue
            name = _free_name(self.original, str(node.name), parts)
            parts[name] = found[0].eval()
            with graph.inserting_before(node):
                call = graph.call_module(name)
            call.args = tuple(node.all_input_nodes[index] for index in found[1])
            node.replace_all_uses_with(call)
            graph.erase_node(node)
            self._new.append(name)
        if not self._new:
            return
        for node in reversed(graph.nodes):
            if is_constant(node) and not node.users:
                graph.erase_node(node)
        module = fx.GraphModule(parts, graph, class_name=type(self.original).__name__)
        module._modules.update(self.original._modules)
        self._module = module.eval()


def _is_multihead(module: nn.Module) -> bool:
    return type(module).forward is nn.MultiheadAttention.forward


def _part(module: nn.Module, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(module.get_submodule(path), name)


def _free_name(module: nn.Module, name: str, taken: dict[str, Any]) -> str:
    while hasattr(module, name) or name in taken:
        name += "_"
    return name


def _copy(values: Any) -> Any:
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, values)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
