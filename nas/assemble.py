"""From a configuration to live objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwprofile.blocks import BlockTable
from hwprofile.calibration import CalibratedTarget, Calibration
from hwprofile.target import Target
from nas.config import Config
from nas.evaluate import Bounds, Evaluator
from nas.identity import identity_for
from nas.objectives import ACCURACY, LATENCY, SCORE, Objective
from nas.plugins import PREDICTORS, PluginError, add_primitives, find
from nas.strategies import STRATEGIES
from nas.strategies.base import Problem, Strategy
from nas.targets import find_target
from nas.usage import UsageError
from predictors.base import Context, Predictor
from predictors.entropy import EntropyPredictor
from predictors.latency import LatencyPredictor
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.read import read_grammar
from searchspace.shapes import TensorSpec, image
from searchspace.tree import FLOAT

if TYPE_CHECKING:
    from nas.solver.design import Task

INTEGER_SCHEME = "w8a8"
"""The scheme that `--quantize` offers every block beside the network's own precision."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The live objects of a run."""

    config: Config
    grammar: Grammar
    spec: TensorSpec
    target: Target
    evaluator: Evaluator
    objectives: tuple[Objective, ...]
    identity: Callable[[Architecture], str]
    """See `nas.strategies.base.Problem`."""

    def strategy(self, seeds: tuple[Architecture, ...]) -> Strategy:
        """A fresh strategy, as the configuration says.

        Raises:
            PluginError: it cannot be found or made.
        """
        problem = Problem(
            grammar=self.grammar,
            objectives=self.objectives,
            seed=self.config.seed,
            evaluations=self.config.evaluations,
            seeds=seeds,
            identity=self.identity,
        )
        name = self.config.strategy
        made = find("strategy", name, STRATEGIES)
        try:
            strategy: Strategy = made(problem)
        except Exception as fault:
            raise PluginError(f"cannot make the strategy '{name}': {fault}") from fault
        for method in ("ask", "tell"):
            if not callable(getattr(strategy, method, None)):
                raise PluginError(f"the strategy '{name}' must have a method '{method}'")
        return strategy


def objectives(config: Config) -> tuple[Objective, ...]:
    """What a run optimises: accuracy where there are data, else the score; and latency."""
    return (ACCURACY if config.data else SCORE, LATENCY)


def assemble(config: Config) -> Parts:
    """The parts that a configuration describes.

    Raises:
        GrammarError: the space's text is at fault.
        UnknownTargetError: there is no such device.
        PluginError: there is no such predictor, strategy or primitive, or the predictor cannot be
            made.
        PrimitiveError: what is named as a primitive is none, or its name is taken.
        UsageError: an option does not fit the target.
        LimitError: a limit does not fit the space.
    """
    target = target_of(config)
    add_primitives(config.primitives)
    find("strategy", config.strategy, STRATEGIES)  # a misspelt name must not leave a run behind
    spec = image(config.channels, config.resolution, config.resolution)
    grammar = read_grammar(
        config.space_text,
        source=config.space,
        spec=spec,
        classes=config.classes,
        limits=config.limits,
        schemes=_schemes(config, target),
    )
    table = BlockTable(spec, batch=config.batch, precision=config.precision, runtime=target.runtime)
    context = Context(
        grammar=grammar,
        spec=spec,
        costs=lambda architecture: table.costs(architecture.root),
        quantized=config.quantize,
    )
    evaluator = Evaluator(
        table=table,
        latency=LatencyPredictor(target),
        entropy=EntropyPredictor(context),
        quality=_quality(config, context),
        bounds=Bounds(
            budget_ms=config.budget_ms,
            max_params=config.max_params,
            max_macs=config.max_macs,
            max_memory=config.max_memory,
            max_weights=config.max_weights,
            max_effectiveness=config.max_effectiveness,
        ),
        classes=config.classes,
    )
    return Parts(
        config=config,
        grammar=grammar,
        spec=spec,
        target=target,
        evaluator=evaluator,
        objectives=objectives(config),
        identity=identity_for(spec),
    )


def design_task(parts: Parts) -> Task:
    """What a solver is to design for a run.

    Raises:
        UsageError: the front is over a quantity that is not bounded.
    """
    from nas.solver.design import Task  # only where it is asked for
    from nas.solver.trade import resource_of

    config, evaluator = parts.config, parts.evaluator
    bounds = {
        "high_ms": config.budget_ms,
        "params": config.max_params,
        "macs": config.max_macs,
        "weight_bytes": config.max_weights,
        "peak_bytes": config.max_memory,
    }
    task = Task(
        grammar=parts.grammar,
        costs=evaluator.table,
        latency=evaluator.latency,
        bounds={name: float(bound) for name, bound in bounds.items() if bound is not None},
        effectiveness=config.max_effectiveness,
        quantized=config.quantize,
        solver=config.solver,
        gap=config.gap,
        seconds=config.solve_seconds,
        ranked=config.designs,
        front=config.front,
        front_over=config.front_over,
    )
    if task.front and task.bounds:
        resource_of(task)
    return task


def target_of(config: Config) -> Target:
    """The target of a run, calibrated where its configuration says by what.

    Raises:
        UnknownTargetError, UnknownRuntimeError, PluginError: it is not there.
    """
    target = find_target(config.target, runtime=config.runtime, coverage=config.coverage)
    if config.calibration is None:
        return target
    return CalibratedTarget(target, Calibration(**config.calibration))


def _schemes(config: Config, target: Target) -> tuple[str, ...]:
    if config.precision not in target.schemes:
        has = ", ".join(target.schemes)
        raise UsageError(f"{config.target} has no '{config.precision}'; it has {has}")
    if not config.quantize:
        return (FLOAT,)
    if INTEGER_SCHEME not in target.schemes:
        raise UsageError(f"{config.target} does not accelerate {INTEGER_SCHEME}: drop --quantize")
    return (FLOAT, INTEGER_SCHEME)


def _quality(config: Config, context: Context) -> Predictor:
    if config.predictor is None:
        return EntropyPredictor(context)
    made = find("predictor", config.predictor, PREDICTORS)
    try:
        predictor: Predictor = made(context)
    except Exception as fault:
        raise PluginError(f"cannot make the predictor '{config.predictor}': {fault}") from fault
    if not callable(getattr(predictor, "predict", None)):
        raise PluginError(f"the predictor '{config.predictor}' must have a method 'predict'")
    return predictor
