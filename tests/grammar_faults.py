"""What a fault of a grammar says, against how it is to be shown."""

import pytest

from searchspace.grammar import GrammarError
from searchspace.read import read_grammar

HEAD = "space s : image[3, 8, 8] -> classes[2]\n"
NET = HEAD + "domain k = 3 | 5\ndomain act = gelu | relu\nnet -> depthwise(k) activation(act) "


def message(text: str, **options) -> str:
    with pytest.raises(GrammarError) as caught:
        read_grammar(text, source="own.grammar", **options)
    return str(caught.value)


def assert_shown(text: str, expected: str) -> None:
    """The message stands between the first and last line break, without the margin."""
    wanted = "\n".join(line.removeprefix("    ") for line in expected.strip("\n").splitlines())
    for form in [text] if "\t" in text else [text, text.replace("\n", "\r\n")]:
        said = message(form)
        assert said == wanted, said
