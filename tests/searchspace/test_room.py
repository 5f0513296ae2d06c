import pytest

from searchspace.read import read_grammar
from searchspace.room import DrawError, Room
from searchspace.table import table_of

_TEXT = "space s : image[8, 16, 16] -> classes[2]\nnet -> eca\nlimit nodes <= 10\n"


@pytest.fixture
def room():
    return Room(table_of(read_grammar(_TEXT)))


def test_a_tree_of_just_as_many_nodes_as_are_allowed_ends(room):
    room.close()
    room.take()
    with room.copies(3):
        room.take(3)
    with pytest.raises(DrawError, match="smallest trees of s have more than 10 nodes: lower the"):
        room.take()


def test_nodes_are_counted_without_end_until_it_is_closed(room):
    room.take(1000)
    assert not room.holds(0)


def test_a_fifth_is_kept_back(room):
    assert room.holds(8)
    assert not room.holds(9)


def test_room_is_kept_for_what_follows_alike_and_given_back(room):
    room.close()
    room.take(2)
    with room.shared(2):
        room.take(3)
        assert not room.holds(1)  # 2 and twice 3 are all that is not kept back
    assert room.holds(3)  # 5 are used
    with room.shared(2):
        room.take(5)
        with pytest.raises(DrawError):
            room.take()


def test_what_is_shared_is_not_refused_before_it_is_too_much(room):
    room.close()
    with room.shared(2):
        room.take(7)
    room.take(3)
    with pytest.raises(DrawError):
        room.take()


def test_an_option_that_leaves_room_comes_before_the_smallest(room):
    sizes = {"none": None, "large": 9, "small": 3, "smaller": 2}
    assert room.first(iter(sizes), sizes.get, single=False, limited=True) == "small"
    room.take(8)
    assert room.first(iter(sizes), sizes.get, single=False, limited=True) == "smaller"
    with pytest.raises(DrawError, match="can be completed"):
        room.first(iter(["none"]), sizes.get, single=False, limited=True)
