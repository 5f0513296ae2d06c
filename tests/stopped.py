"""Runs that are stopped, and that remember what they evaluated."""

from small_space import parts_of


class Stop(Exception):
    """What stops a run between two generations."""


class Counting:
    """A quality predictor that remembers what it was asked."""

    def __init__(self, inner):
        self.inner, self.asked = inner, []

    def fit(self, architectures, values):
        self.inner.fit(architectures, values)

    def predict(self, architectures):
        self.asked += [a.key for a in architectures]
        return self.inner.predict(architectures)


def counted(configuration):
    parts = parts_of(configuration)
    parts.evaluator.quality = Counting(parts.evaluator.quality)
    return parts, parts.evaluator.quality.asked
