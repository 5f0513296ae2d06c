"""Search strategies, all behind one ask-and-tell interface, and the one table of their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

STRATEGIES: Mapping[str, str] = MappingProxyType(
    {
        "evolution": "nas.strategies.evolution:EvolutionStrategy",
        "random": "nas.strategies.random:RandomStrategy",
        "solve": "nas.strategies.solve:SolveStrategy",
        "tpe": "nas.strategies.tpe:TPEStrategy",
    }
)
"""Where each strategy is; imported when it is used, since pymoo and Optuna take seconds."""
