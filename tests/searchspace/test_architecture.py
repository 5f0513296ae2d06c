import json
import os
import pickle
import subprocess
import sys
from random import Random

import pytest
from strategies import NARROW, drawn, shipped

from searchspace.architecture import Architecture
from searchspace.sample import sample
from searchspace.text import TreeTextError
from searchspace.tree import Node
from searchspace.vary import crossover, mutate

_ELSEWHERE = """
import json, pickle, sys
from random import Random
from searchspace.sample import sample
from searchspace.space import load_space
from searchspace.text import from_text
from searchspace.vary import crossover, mutate

pickled, text, limits = pickle.load(sys.stdin.buffer)
grammar = load_space("conv_large_kernel", classes=10, limits=limits, schemes=("float", "w8a8"))
random = Random(5)
first, second = sample(grammar, random), sample(grammar, random)
print(json.dumps({
    "hash of a word": hash("gelu"),
    "key": pickled.key,
    "equal": pickled.root == from_text(text),
    "hash": hash(pickled.root) == hash(from_text(text)),
    "found": pickled.root in {from_text(text)},
    "drawn": [first.key, second.key],
    "mutated": mutate(grammar, first, random).key,
    "crossed": crossover(grammar, first, second, random).key,
}))
"""


def test_identity_and_draws_are_the_same_in_another_process():
    grammar, random = shipped(), Random(5)
    first, second = sample(grammar, random), sample(grammar, random)
    run = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        input=pickle.dumps((first, first.text, NARROW)),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1" if hash("gelu") % 2 else "2"},
    )
    answer = json.loads(run.stdout)
    assert answer.pop("hash of a word") != hash("gelu")
    assert answer == {
        "key": first.key,
        "equal": True,
        "hash": True,
        "found": True,
        "drawn": [first.key, second.key],
        "mutated": mutate(grammar, first, random).key,
        "crossed": crossover(grammar, first, second, random).key,
    }


def test_the_key_stays_over_versions():
    root = Node("network", 0, (64, "gelu"), ((), (Node("block", 2, (), (), "w8a8"),)))
    architecture = Architecture(space="any", root=root)
    assert architecture.text == "network:0(64,gelu)[; block:2@w8a8]"
    assert architecture.key == "53899e0ed66e033e"


def test_json_and_back_is_the_identity():
    architecture = drawn(shipped(), 1)
    record = json.loads(json.dumps(architecture.to_json()))
    assert set(record) == {"space", "key", "tree"}
    assert Architecture.from_json(record) == architecture
    del record["key"]
    assert Architecture.from_json(record) == architecture


def test_a_changed_tree_does_not_read_under_the_old_key():
    record = drawn(shipped(), 1).to_json()
    record["tree"] = drawn(shipped(), 2).to_json()["tree"]
    with pytest.raises(TreeTextError, match="changed by hand or damaged; remove 'key'"):
        Architecture.from_json(record)


@pytest.mark.parametrize("record", [None, [], {}, {"space": 1, "tree": {}}, {"tree": {}}])
def test_other_records_are_refused(record):
    with pytest.raises(TreeTextError, match="an object with 'space' and 'tree'"):
        Architecture.from_json(record)
