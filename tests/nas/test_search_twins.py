"""Trees of one network: one of them is evaluated."""

from random import Random

import pytest
from small_space import begin, config, go_on, perform
from stopped import Stop, counted

from nas.assemble import Parts
from nas.search import run
from searchspace.sample import sample

TWINS = """\
space twins : image[3, 8, 8] -> classes[2]
domain width = 8 .. 64 step 8
net -> strided_conv(width, 1) rest global_pool classifier(classes)
rest -> identity | residual(zero) | eca | identity eca
"""


class Everything(Parts):
    """Parts whose strategy proposes every tree of the space, however many are one network."""

    def strategy(self, seeds):
        trees = {a.key: a for a in (sample(self.grammar, Random(n)) for n in range(400))}
        assert len(trees) == 32
        return Listed(sorted(trees.values(), key=lambda a: a.key))


class Listed:
    def __init__(self, architectures):
        self.architectures, self.told = architectures, []

    def ask(self, n):
        n = min(n, 7)
        asked, self.architectures = self.architectures[:n], self.architectures[n:]
        return asked

    def tell(self, trials):
        self.told += trials


@pytest.mark.parametrize("stop_after", [None, 1, 3])
def test_of_two_trees_of_one_network_one_is_evaluated(tmp_path, stop_after):
    settings = {"space": "twins.grammar", "space_text": TWINS, "budget_ms": None}
    configuration = config(**settings, evaluations=60)

    def stop(progress):
        if stop_after is not None and progress.done >= 7 * stop_after:
            raise Stop

    evaluated = []

    def everything():
        parts, asked = counted(configuration)
        evaluated.append(asked)
        return Everything(**vars(parts))

    with begin(tmp_path, configuration) as record:
        if stop_after is not None:
            with pytest.raises(Stop):
                run(everything(), record, (), stop)
    with go_on(tmp_path, configuration) as record:
        parts = everything()
        trials = run(parts, record, ())
        assert sorted(record.trials(), key=lambda trial: trial.number) == trials
    asked = [key for keys in evaluated for key in keys]
    assert len(asked) == len(set(asked)) == 16
    assert [trial.number for trial in trials] == list(range(32))
    first = {}
    for trial in trials:
        earlier = first.setdefault(parts.identity(trial.architecture), trial)
        assert trial.values == earlier.values
        if earlier is not trial:
            assert trial.reason == f"computes the same as {earlier.architecture.key}"


@pytest.mark.parametrize("strategy", ["evolution", "random", "tpe"])
def test_strategies_propose_a_network_once(tmp_path, strategy):
    settings = {"space": "twins.grammar", "space_text": TWINS, "budget_ms": None}
    configuration = config(**settings, evaluations=60, strategy=strategy)
    parts, asked = counted(configuration)
    with begin(tmp_path, configuration) as record:
        trials = perform(parts, record)
    identities = [parts.identity(trial.architecture) for trial in trials]
    assert len(identities) == len(set(identities)) == len(asked) > 8
