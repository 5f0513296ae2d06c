import re

import pytest

from searchspace.grammar import GrammarError
from searchspace.space import UnknownSpaceError, load_space, space_names, space_text

_TEXT = "space own : image[3, 8, 8] -> classes[4]\nnet -> global_pool classifier(classes)\n"


@pytest.mark.parametrize("name", space_names())
def test_every_shipped_space_reads_under_its_own_name(name):
    assert load_space(name).name == name


def test_the_shipped_space_is_found():
    assert "conv_large_kernel" in space_names()
    grammar = load_space("conv_large_kernel")
    assert (str(grammar.input), grammar.classes) == ("image[3, 224, 224]", 1000)
    assert grammar.domains["width"].values == tuple(range(32, 1025, 16))


def test_a_file_is_found_by_its_path(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_text(_TEXT)
    assert load_space(str(path)).name == "own"
    assert load_space(str(path), classes=7).classes == 7


def test_faults_name_the_file(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_text(_TEXT + "more -> eca\n")
    with pytest.raises(GrammarError, match=r"^own\.grammar, line 3, column 1: "):
        load_space(str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv_large_kernels", "no space 'conv_large_kernels'; did you mean 'conv_large_kernel'?"),
        (
            "zzz",
            f"no space 'zzz'; known: {', '.join(space_names())}; "
            "or give the path of a .grammar file",
        ),
        ("missing.grammar", "cannot read the grammar file missing.grammar: "),
        ("not/there", "cannot read the grammar file not/there: "),
    ],
)
def test_unknown_spaces_are_named_with_the_cure(name, message):
    with pytest.raises(UnknownSpaceError, match="^" + re.escape(message)):
        space_text(name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "own.grammar"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnknownSpaceError, match="cannot read"):
        load_space(str(path))
