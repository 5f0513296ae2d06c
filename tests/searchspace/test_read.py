"""Grammars read from text: typed values, limits, faults of statements, and any text at all."""

import re
from random import Random

import pytest
from grammar_faults import HEAD, NET, assert_shown, message
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grammar_texts

from searchspace.check import check
from searchspace.grammar import GrammarError
from searchspace.primitives import PRIMITIVES
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.space import space_text
from searchspace.text import to_text

FAULTS = {
    "no rule": (
        HEAD,
        """
    own.grammar, line 1, column 1: a space needs a rule after its first line
      space s : image[3, 8, 8] -> classes[2]
      ^
""",
    ),
    "input of unknown mode": (
        "space s : video[3, 8, 8] -> classes[2]\nnet -> eca\n",
        """
    own.grammar, line 1, column 11: the input must be image[C, H, W] or tokens[N, D]
      space s : video[3, 8, 8] -> classes[2]
                ^
""",
    ),
    "input of wrong rank": (
        "space s : image[3, 8] -> classes[2]\nnet -> eca\n",
        """
    own.grammar, line 1, column 11: image needs 3 sizes of at least 1; got (3, 8)
      space s : image[3, 8] -> classes[2]
                ^
""",
    ),
    "output of unknown kind": (
        "space s : image[3, 8, 8] -> boxes[2]\nnet -> eca\n",
        """
    own.grammar, line 1, column 29: the output must be classes[N]
      space s : image[3, 8, 8] -> boxes[2]
                                  ^
""",
    ),
    "no classes": (
        "space s : image[3, 8, 8] -> classes[0]\nnet -> eca\n",
        """
    own.grammar, line 1, column 37: the output needs at least 1 class
      space s : image[3, 8, 8] -> classes[0]
                                          ^
""",
    ),
    "empty range": (
        HEAD + "domain k = 7 .. 3\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: the range of 'k' is empty: first <= last, step >= 1
      domain k = 7 .. 3
             ^
""",
    ),
    "range without step": (
        HEAD + "domain k = 3 .. 7 step 0\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: the range of 'k' is empty: first <= last, step >= 1
      domain k = 3 .. 7 step 0
             ^
""",
    ),
    "endless range": (
        HEAD + "domain k = 0 .. 100000\nnet -> eca ^ k\n",
        """
    own.grammar, line 2, column 8: a domain has at most 100000 values
      domain k = 0 .. 100000
             ^
""",
    ),
    "domain twice": (
        HEAD + "domain k = 3\ndomain k = 5\nnet -> depthwise(k)\n",
        """
    own.grammar, line 3, column 8: domain 'k' is defined already
      domain k = 5
             ^
""",
    ),
    "domain called classes": (
        HEAD + "domain classes = 3\nnet -> eca\n",
        """
    own.grammar, line 2, column 8: domain 'classes' is defined already
      domain classes = 3
             ^
""",
    ),
    "value twice": (
        HEAD + "domain k = 3 | 5 | 3\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: domain 'k' lists a value twice
      domain k = 3 | 5 | 3
             ^
""",
    ),
    "integers and words": (
        HEAD + "domain k = 3 | gelu\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: domain 'k' mixes integers and words
      domain k = 3 | gelu
             ^
""",
    ),
    "rule twice": (
        HEAD + "net -> eca\nnet -> eca\n",
        """
    own.grammar, line 3, column 1: rule 'net' is defined already
      net -> eca
      ^
""",
    ),
    "rule called like a primitive": (
        HEAD + "net -> eca\neca -> shift\n",
        """
    own.grammar, line 3, column 1: 'eca' is a primitive; give the rule another name
      eca -> shift
      ^
""",
    ),
    "parameter twice": (
        HEAD + "net -> f(1, 2)\nf(a, a) -> eca\n",
        """
    own.grammar, line 3, column 1: rule 'f' has two parameters of one name
      f(a, a) -> eca
      ^
""",
    ),
    "unused domain": (
        HEAD + "domain k = 3\nnet -> eca\n",
        """
    own.grammar, line 2, column 8: domain 'k' is not used: use it or delete it
      domain k = 3
             ^
""",
    ),
    "unreachable rule": (
        HEAD + "net -> eca\nleft -> right\nright -> left | eca\n",
        """
    own.grammar, line 3, column 1: rule 'left' cannot be reached from 'net'
      left -> right
      ^
""",
    ),
    "endless rule": (
        HEAD + "net -> eca f\nf -> residual(g) eca\ng -> eca f\n",
        """
    own.grammar, line 3, column 1: rule 'f' never ends: give it an alternative without itself
      f -> residual(g) eca
      ^
""",
    ),
    "endless alternative": (
        HEAD + "net -> eca | f\n       | shift\nf -> f | f eca\n",
        """
    own.grammar, line 2, column 14: this alternative never ends
      net -> eca | f
                   ^
""",
    ),
    "start with parameters": (
        HEAD + "net(a) -> eca ^ a\n",
        """
    own.grammar, line 2, column 1: the first rule takes no parameters
      net(a) -> eca ^ a
      ^
""",
    ),
    "rules inside rules": (
        HEAD + "".join(f"r{i} -> r{i + 1}\n" for i in range(60)) + "r60 -> eca\n",
        """
    own.grammar, line 2, column 1: the lowest tree is 62 levels high; at most 60
      r0 -> r1
      ^
""",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_shown_where_they_are_with_the_cure(name):
    assert_shown(*FAULTS[name])


def test_line_and_column_are_those_of_the_message():
    with pytest.raises(GrammarError) as caught:
        read_grammar(HEAD + "\n\nnet -> eca\n  gelu\n")
    assert (caught.value.line, caught.value.column) == (5, 3)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"kernel": (3, 5)}, "no domain 'kernel' to limit; there are act, k"),
        ({"k": (6, 9)}, "no value of domain 'k' (3 | 5) lies in 6..9"),
        ({"k": (5, 3)}, "no value of domain 'k' (3 | 5) lies in 5..3"),
        ({"act": (1, 9)}, "no value of domain 'act' (gelu | relu) lies in 1..9"),
    ],
)
def test_limits_that_fit_nothing_are_refused(limits, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_grammar(NET, limits=limits)


def test_limits_that_leave_a_constraint_without_values_are_a_fault_of_the_grammar():
    text = NET + "depthwise(a) with a : k where a > 3\n"
    assert read_grammar(text, limits={"k": (5, 5)}).domains["k"].values == (5,)
    assert "no values keep these constraints" in message(text, limits={"k": (3, 3)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "the number of classes must be at least 1; got 0"),
        ({"classes": -3}, "the number of classes must be at least 1; got -3"),
        ({"schemes": ()}, "precision schemes must be one name or more; got []"),
        ({"schemes": ("w8 a8",)}, "precision schemes must be one name or more; got ['w8 a8']"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_grammar(NET, **options)


@pytest.mark.parametrize(
    "text",
    [
        # A constraint makes good what the domain alone would do wrong.
        HEAD + "domain k = 3 .. 9\nnet -> dilated_reparam(a) with a : k where a == 5\n",
        HEAD + "domain k = 3 .. 9\nnet -> f(a, b) with a, b : k where a < b\n"
        "f(a, b) -> g(b - a - 1)\ng(n) -> eca ^ n\n",
        # Only the way through the constraints tells that b is 5.
        HEAD + "domain k = 4 | 5\nnet -> f(b) with a, b : k where a < b\n"
        "f(n) -> depthwise(n) eca ^ n where n > 4\n",
        # A recursion that counts down.
        HEAD + "net -> f(9)\nf(n) -> eca f(n - 1) where n > 0 | bias where n == 0\n",
        # Rules may be called like words of the language where these cannot stand.
        HEAD + "net -> space step domains\nspace -> eca\nstep -> bias\ndomains -> eca\n",
        # Keywords, a parameter that hides a domain, tabs, a comment between, no last line break.
        HEAD + "domain k\t= 3 | 5 # sizes\nnet -> f(k: 3) depthwise(kernel: k)\n"
        "# of one kernel\n\n  # more\nf(k)\tis\tblock\n   -> depthwise(k)",
    ],
)
def test_these_are_spaces(text):
    for form in (text, text.replace("\n", "\r\n"), "\n\n# first\n" + text):
        grammar = read_grammar(form)
        for seed in range(5):
            check(grammar, sample(grammar, Random(seed)).root)


def test_the_typed_values_of_a_file():
    grammar = read_grammar(
        "space mine : image[3, 16, 32] -> classes[7]\n"
        "domain w = 8 .. 32 step 8\n"
        "domain act = gelu | silu\n"
        "net -> 2 : stem(a) stage ^ a global_pool classifier(classes) with a : w where a >= 16\n"
        "     | 0.5 : stem(8) stage ^^ 2\n"
        "stem(n) is block -> strided_conv(n * 2, 2)\n"
        "stage -> residual(activation(act))\n",
        classes=5,
        schemes=("float", "w8a8"),
    )
    assert (grammar.name, grammar.start, grammar.classes) == ("mine", "net", 5)
    assert grammar.input.shape == (3, 16, 32)
    assert {name: str(domain) for name, domain in grammar.domains.items()} == {
        "w": "8 | 16 | 24 | 32",
        "act": "gelu | silu",
    }
    assert [rule.is_block for rule in grammar.rules.values()] == [False, True, False]
    first, second = grammar.rules["net"].alternatives
    assert (first.weight, second.weight) == (2.0, 0.5)
    assert [item.symbol for item in first.items] == ["stem", "stage", "global_pool", "classifier"]
    assert [bool(i.repeat and i.repeat.same) for i in second.items] == [False, True]
    texts = {to_text(sample(grammar, Random(seed)).root) for seed in range(40)}
    assert any("classifier(5)" in text for text in texts)
    assert all("classifier(7)" not in text for text in texts)


def test_a_primitive_of_any_number_of_sequences_takes_one_or_more():
    several = {**PRIMITIVES, "several": _several()}
    read_grammar(HEAD + "net -> several(eca, bias eca)\n", primitives=several)
    read_grammar(HEAD + "net -> several(eca)\n", primitives=several)
    found = message(HEAD + "net -> several\n", primitives=several)
    assert "several(…) takes at least 1 argument; got 0" in found


def _several():
    residual = PRIMITIVES["residual"]
    return type(residual)(
        name="several",
        summary="",
        module=residual.module,
        arguments=residual.arguments,
        groups=-1,
    )


@given(grammar_texts(), st.data())
@settings(max_examples=100)
def test_a_damaged_grammar_reads_or_is_a_grammar_error(text, data):
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        pieces = ("", "\n", "\r", "|", "k", "n", "999999999999", "0", "^", "(", ")", "where", " é")
        text = text[:start] + data.draw(st.sampled_from(pieces)) + text[start + length :]
    _reads_or_refuses(text)


_WORDS = (
    "space s : image [ 3 , 8 ] -> classes domain k = .. step | a ( ) ^ ^^ with where <= + * 1.5 # $"
)


@given(
    st.text(max_size=60)
    | st.text(max_size=40).map(lambda text: HEAD + text)
    | st.lists(st.sampled_from([*_WORDS.split(), "\n", "is block", "\x0c", " "]), max_size=30).map(
        lambda words: HEAD + " ".join(words)
    )
)
@settings(max_examples=200)
def test_any_text_reads_or_is_a_grammar_error(text):
    _reads_or_refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "(" * 100_000,
        "\n" * 50_000 + "?",
        HEAD + "net -> f(" + "1 + " * 20_000 + "1)\nf(n) -> eca ^ n\n",
        HEAD + "net -> " + "eca " * 20_000 + "$",
        space_text("conv_large_kernel") * 50,
        HEAD + "domain k = " + " | ".join(map(str, range(20_000))) + " | 3\nnet -> eca ^ k\n",
    ],
    ids=["name", "brackets", "lines", "sum", "items", "many headers", "choices"],
)
def test_huge_texts_are_grammar_errors(text):
    assert len(message(text)) < 1000


def _reads_or_refuses(text: str) -> None:
    try:
        grammar = read_grammar(text)
    except GrammarError:
        return
    check(grammar, sample(grammar, Random(0)).root)
