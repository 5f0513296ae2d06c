"""What every quality predictor must do, as tests to inherit.

A predictor's author writes, in a file that pytest collects::

    from nas.testing.predictors import PredictorContract

    class TestMyPredictor(PredictorContract):
        def make(self, context):
            return MyPredictor(context)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from random import Random

from hwprofile.blocks import BlockTable
from nas.testing.space import many
from predictors.base import Context, Predictor
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.sample import sample


class PredictorContract(ABC):
    """Inherit, say how the predictor is made, and pytest runs the rest."""

    @abstractmethod
    def make(self, context: Context) -> Predictor:
        """A fresh predictor."""

    def grammar(self) -> Grammar:
        """The space that the tests draw from; another one may be returned instead."""
        return many()

    def fresh(self) -> Predictor:
        """A predictor that was told nothing."""
        grammar = self.grammar()
        table = BlockTable(grammar.input)
        return self.make(
            Context(
                grammar=grammar,
                spec=grammar.input,
                costs=lambda architecture: table.costs(architecture.root),
            )
        )

    def drawn(self, n: int, seed: int = 0) -> list[Architecture]:
        """Architectures of the space."""
        random = Random(seed)
        return [sample(self.grammar(), random) for _ in range(n)]

    def fitted(self) -> Predictor:
        """A predictor that heard of ten architectures."""
        predictor = self.fresh()
        predictor.fit(self.drawn(10, seed=1), _accuracies(10))
        return predictor

    def test_gives_one_finite_estimate_each_in_order(self) -> None:
        """And, of equal architectures, equal ones."""
        architectures = self.drawn(12)
        architectures += architectures[:3]
        for predictor in (self.fresh(), self.fitted()):
            found = predictor.predict(architectures)
            assert len(found) == len(architectures)
            for estimate in found:
                assert isfinite(estimate.low)
                assert isfinite(estimate.high)
                assert estimate.low <= estimate.value <= estimate.high
            values = [estimate.value for estimate in found]
            assert values[:3] == values[-3:]
            back = [estimate.value for estimate in predictor.predict(architectures[::-1])]
            assert back[::-1] == values, "estimates must stand in the order of the architectures"

    def test_depends_on_no_earlier_call_and_no_neighbour(self) -> None:
        """A resumed run asks in other portions; it must hear the same."""
        architectures = self.drawn(8)
        for make in (self.fresh, self.fitted):
            together = [estimate.value for estimate in make().predict(architectures)]
            predictor = make()
            alone = [predictor.predict([a])[0].value for a in architectures[::-1]]
            assert alone[::-1] == together

    def test_two_of_a_kind_agree(self) -> None:
        """What one predictor says, another made and fitted alike says too."""
        architectures = self.drawn(5)
        for make in (self.fresh, self.fitted):
            first, second = (make().predict(architectures) for _ in range(2))
            assert [e.value for e in first] == [e.value for e in second]

    def test_tells_some_architectures_apart(self) -> None:
        """A predictor that says the same of all leads no search."""
        values = {estimate.value for estimate in self.fresh().predict(self.drawn(30))}
        assert len(values) > 1

    def test_serves_no_architectures_at_all(self) -> None:
        """None asked, none given; none judged, nothing learnt."""
        assert list(self.fresh().predict([])) == []

    def test_learns_again_from_everything(self) -> None:
        """Each `fit` is told all that was judged so far: the last one alone counts."""
        architectures = self.drawn(10, seed=1)
        step_by_step = self.fresh()
        for n in (3, 6, 10):
            step_by_step.fit(architectures[:n], _accuracies(10)[:n])
        asked = self.drawn(5)
        assert [e.value for e in step_by_step.predict(asked)] == [
            e.value for e in self.fitted().predict(asked)
        ]


def _accuracies(n: int) -> Sequence[float]:
    return [(7 * i % 10) / 10 for i in range(n)]
