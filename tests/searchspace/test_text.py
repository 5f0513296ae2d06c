import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import nodes, shipped_architectures

from searchspace.text import TreeTextError, from_json, from_text, to_json, to_text
from searchspace.tree import Node, primitive


def test_the_text_of_a_known_tree():
    eca = primitive("eca")
    block = Node("block", 1, (3, "gelu"), ((primitive("depthwise", 7),), (eca, eca, eca)), "w8a8")
    text = "block:1@w8a8(3,gelu)[depthwise(7); eca*3]"
    assert to_text(block) == text
    assert from_text(text) == block
    assert from_text(" block : 1 @ w8a8 ( 3 , gelu ) [ depthwise(7) ; eca eca*2 ] ") == block


def test_empty_groups_are_kept():
    for children in [(), ((),), ((), ()), ((), (primitive("eca"),), ())]:
        node = Node("rule", 0, (), children)
        assert from_text(to_text(node)).children == children
        assert from_json(to_json(node)).children == children


@given(nodes())
@settings(max_examples=60)
def test_text_and_back_is_the_identity(node):
    assert from_text(to_text(node)) == node


@given(nodes())
@settings(max_examples=60)
def test_json_and_back_is_the_identity(node):
    assert from_json(json.loads(json.dumps(to_json(node)))) == node


@given(nodes(), nodes())
@settings(max_examples=40)
def test_different_trees_have_different_texts(first, second):
    assert (to_text(first) == to_text(second)) == (first == second)


@given(shipped_architectures(narrow=False))
@settings(max_examples=20)
def test_the_shipped_space_reads_back(architecture):
    assert from_text(architecture.text) == architecture.root
    assert from_json(to_json(architecture.root)) == architecture.root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a name at character 1; found 'the end of the text'"),
        ("a:", "must have an integer at character 3; found 'the end of the text'"),
        ("a:0@", "must have a name at character 5; found 'the end of the text'"),
        ("a()", "must have an integer at character 3; found ')'"),
        ("a(3", "must have ')' at character 4; found 'the end of the text'"),
        ("a:0[b;c", "must have ']' at character 8; found 'the end of the text'"),
        ("a b", "must have the end at character 2; found 'b'"),
        ("a:0[b*0]", "a node repeats 1 to 10000 times; got 0"),
        ("a:0[b*10001]", "a node repeats 1 to 10000 times; got 10001"),
        ("a(" + "9" * 5000 + ")", "must have a name at character 3; found '9999"),
        ("a(1234567890123456789)", "must have a name at character 3; found '1234"),
        ("a:0[" * 300 + "]" * 300, "an architecture may nest 200 deep at most"),
    ],
)
def test_wrong_texts_are_refused_with_the_place(text, message):
    with pytest.raises(TreeTextError, match=re.escape(message)):
        from_text(text)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "a node must be an object with a 'symbol'; got None"),
        ({"symbol": 3}, "a node must be an object with a 'symbol'; got {'symbol': 3}"),
        ({"symbol": "a", "colour": 1, 2: 3}, "a node has no field '2'"),
        ({"symbol": "a b"}, "node 'a b' has a field of the wrong type"),
        ({"symbol": "a", "values": ["1"]}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "values": [True]}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "values": [10**18]}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "alternative": "0"}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "scheme": "w8 a8"}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "children": [{}]}, "node 'a' has a field of the wrong type"),
        ({"symbol": "a", "children": [[1]]}, "a node must be an object with a 'symbol'; got 1"),
    ],
)
def test_wrong_records_are_refused(record, message):
    with pytest.raises(TreeTextError, match=re.escape(message)):
        from_json(record)


def test_records_nested_without_end_are_refused():
    deep: dict[str, object] = {"symbol": "a"}
    wrong: object = {}
    for _ in range(3000):
        deep = {"symbol": "a", "children": [[deep]]}
        wrong = [wrong]
    with pytest.raises(TreeTextError, match="200 deep"):
        from_json(deep)
    with pytest.raises(TreeTextError, match="must be an object"):
        from_json(wrong)


@given(st.text(st.sampled_from("ab1-9:@()[];*, \n٣é"), max_size=40) | st.text(max_size=20))
@settings(max_examples=300)
def test_any_text_reads_or_is_refused(text):
    try:
        node = from_text(text)
    except TreeTextError:
        return
    assert from_text(to_text(node)) == node


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("symbol", "alternative", "scheme", "values", "children", "x")), inner
        )
    ),
    max_leaves=12,
)


@given(_json | st.fixed_dictionaries({"symbol": st.text(max_size=3), "values": _json}))
@settings(max_examples=300)
def test_any_record_reads_or_is_refused(record):
    try:
        node = from_json(record)
    except TreeTextError:
        return
    assert from_text(to_text(node)) == node
