"""Names that lead to predictors and strategies, and those that lead nowhere."""

import sys
from importlib.metadata import EntryPoint

import pytest
from small_space import config, parts_of

from nas import plugins
from nas.plugins import PREDICTORS, PluginError, find, known, load
from nas.strategies import STRATEGIES
from predictors.entropy import EntropyPredictor
from predictors.maedet import MaeDetPredictor
from predictors.zen import ZenPredictor


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the current directory; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    names = []

    def write(text):
        name = f"foreign_{tmp_path.name}_{len(names)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_shipped_names_lead_to_their_classes():
    assert find("predictor", "entropy", PREDICTORS) is EntropyPredictor
    assert find("predictor", "maedet", PREDICTORS) is MaeDetPredictor
    assert find("predictor", "zen", PREDICTORS) is ZenPredictor
    for name in STRATEGIES:
        assert find("strategy", name, STRATEGIES).__name__.lower() == f"{name}strategy"


def test_a_class_is_found_in_the_current_directory(module):
    name = module("class Outer:\n    class Mine:\n        pass\n")
    found = find("strategy", f"{name}:Outer.Mine", STRATEGIES)
    assert found.__qualname__ == "Outer.Mine"


def test_installed_packages_join_by_entry_point(module, monkeypatch):
    name = module("class Mine:\n    pass\n")
    point = EntryPoint(name="mine", value=f"{name}:Mine", group="nas.strategies")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] * (group == point.group))
    assert known("strategy", STRATEGIES) == ["evolution", "mine", "random", "solve", "tpe"]
    assert known("predictor", PREDICTORS) == ["entropy", "maedet", "zen"]
    assert find("strategy", "mine", STRATEGIES).__name__ == "Mine"
    with pytest.raises(PluginError, match="no predictor 'mine'"):
        find("predictor", "mine", PREDICTORS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("evolutoin", r"no strategy 'evolutoin'; did you mean 'evolution'\? \(known: evolution, "),
        ("xyz", r"no strategy 'xyz' \(known: .*; or give package\.module:Class\)"),
        ("", "no strategy ''"),
        ("no_such_module:Class", "cannot import 'no_such_module'"),
        ("json:", "a strategy is given as package.module:name; got 'json:'"),
        (":Class", "given as package.module:name; got ':Class'"),
        ("json:Class", "module 'json' has no 'Class'"),
        ("json:dumps.nothing", "module 'json' has no 'dumps.nothing'"),
        ("..x:Class", "cannot import '..x'"),
    ],
)
def test_what_leads_nowhere_says_so(name, said):
    with pytest.raises(PluginError, match=said):
        find("strategy", name, STRATEGIES)


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('no licence')", "this is no python", "import no_such_thing"]
)
def test_a_module_that_cannot_be_imported_is_told_with_its_fault(module, text):
    name = module(text)
    with pytest.raises(PluginError, match=f"cannot import '{name}' for the strategy") as caught:
        load(f"{name}:Class", "strategy")
    assert caught.value.__cause__ is not None


def test_a_strategy_that_cannot_be_made_is_named(module):
    name = module(
        "class Raises:\n    def __init__(self, problem):\n        raise RuntimeError('no luck')\n"
        "class Mute:\n    def __init__(self, problem):\n        pass\n"
        "    def ask(self, n):\n        return []\n"
    )
    for cls, said in (
        ("Raises", f"cannot make the strategy '{name}:Raises': no luck"),
        ("Mute", f"the strategy '{name}:Mute' must have a method 'tell'"),
    ):
        parts = parts_of(config(strategy=f"{name}:{cls}"))
        with pytest.raises(PluginError, match=said):
            parts.strategy(())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    def __init__(self, context):\n        raise KeyError('x')\n", "cannot make the pred"),
        ("    def __init__(self, context):\n        pass\n", "must have a method 'predict'"),
    ],
)
def test_a_predictor_that_cannot_be_made_is_named(module, body, said):
    name = module(f"class Mine:\n{body}")
    with pytest.raises(PluginError, match=said):
        parts_of(config(predictor=f"{name}:Mine"))


def test_an_unknown_strategy_is_refused_before_a_run_begins():
    with pytest.raises(PluginError, match="no strategy 'annealing'"):
        parts_of(config(strategy="annealing"))
