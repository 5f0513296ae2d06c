"""The configuration: complete, frozen, and what is not understood is refused."""

import json
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config import Config, ConfigError

LEAST = {"space": "s", "space_text": "text", "target": "a100", "budget_ms": None}
_texts = st.text(max_size=8)
_optional_counts = st.none() | st.integers(1, 10**12)
configs = st.builds(
    Config,
    space=_texts,
    space_text=_texts,
    target=_texts,
    budget_ms=st.none() | st.floats(1e-6, 1e6),
    batch=st.integers(1, 99),
    max_params=_optional_counts,
    max_macs=_optional_counts,
    max_memory=_optional_counts,
    max_weights=_optional_counts,
    max_effectiveness=st.floats(0.1, 2),
    quantize=st.booleans(),
    primitives=st.lists(_texts, max_size=2).map(tuple),
    predictor=st.none() | _texts,
    data=st.none() | _texts,
    seed=st.integers(0, 2**63),
    limits=st.dictionaries(_texts, st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=2),
)


@given(configs)
def test_what_was_written_reads_back(config):
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_file_states_every_field():
    record = Config(**LEAST).to_json()
    assert set(record) == {"format", "version", *(field.name for field in fields(Config))}


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config(**LEAST).seed = 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "nas-result"}, "'format' must be 'nas-config'"),
        ({"version": 2}, "version 2; this release reads 1"),
        ({"speed": 1}, "unknown key 'speed'"),
        ({"batch": "4"}, "'batch' must be int; got '4'"),
        ({"batch": None}, "'batch' must be int; got None"),
        ({"batch": True}, "'batch' must be int; got True"),
        ({"budget_ms": "5ms"}, "'budget_ms' must be float"),
        ({"quantize": 1}, "'quantize' must be bool"),
        ({"space": 7}, "'space' must be str"),
        ({"max_macs": 1.5}, "'max_macs' must be int"),
        ({"limits": []}, "'limits' must be an object"),
        ({"limits": {"w": []}}, "limit 'w' must be"),
        ({"limits": {"w": [1, 2, 3]}}, "limit 'w' must be"),
        ({"limits": {"w": ["a", 2]}}, "limit 'w' must be"),
        ({"limits": {"w": 5}}, "limit 'w' must be"),
        ({"primitives": "m:P"}, "'primitives' must be a list of package.module:NAME"),
        ({"primitives": [1]}, "'primitives' must be a list of package.module:NAME"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    record = {**Config(**LEAST).to_json(), **change}
    with pytest.raises(ConfigError, match=said):
        Config.from_json(record)


@pytest.mark.parametrize("key", LEAST)
def test_what_is_missing_is_named(key):
    record = Config(**LEAST).to_json()
    del record[key]
    with pytest.raises(ConfigError, match=f"lacks '{key}'"):
        Config.from_json(record)


@pytest.mark.parametrize("record", [None, [], "text", 5, {}])
def test_what_is_no_configuration(record):
    with pytest.raises(ConfigError, match="no configuration"):
        Config.from_json(record)


def test_a_whole_number_is_a_budget_too():
    record = {**Config(**LEAST).to_json(), "budget_ms": 5}
    assert Config.from_json(record).budget_ms == 5
