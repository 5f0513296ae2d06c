"""Parts that come again, and rules that only arrange."""

from hypothesis import given
from hypothesis import strategies as st

from searchspace.rows import repeated, spliced
from searchspace.text import from_text
from searchspace.tree import primitive


def row_of(names):
    return [(primitive(name), "") for name in names]


@given(st.text("ab", min_size=1, max_size=14))
def test_what_is_repeated_covers_the_most(names):
    length, count = repeated(row_of(names), 0)
    assert names.startswith(names[:length] * count)
    for other in range(1, len(names) // 2 + 1):
        times = 1
        while names.startswith(names[:other] * (times + 1)):
            times += 1
        assert times == 1 or other * times <= length * count
    assert count > 1 or length == 1


def test_the_shorter_part_is_taken_where_both_cover_the_same():
    assert repeated(row_of("aaaa"), 0) == (1, 4)
    assert repeated(row_of("aabaab"), 0) == (3, 2)
    assert repeated(row_of("xababab"), 1) == (2, 3)


def test_rules_without_blocks_and_recursive_ones_leave_what_they_hold():
    root = from_text("m:0[m:1[eca]; m:0[x:0[shift]; b:0@float[eca]]; s:0[b:0@float[eca]*2]]")
    row = [(child, f"p{i}") for i, child in enumerate(root.flat())]
    found = [(node.symbol, path) for node, path in spliced(row, "m")]
    assert found == [("eca", ""), ("shift", ""), ("b", "p1.1"), ("s", "p2")]


def test_a_lone_rule_is_no_part_of_its_own():
    root = from_text("n:0[c:0[b:0@float[eca]; b:0@float[eca]]]")
    row = [(child, "c") for child in root.flat()]
    assert [path for _, path in spliced(row, "n")] == ["c.0", "c.1"]
