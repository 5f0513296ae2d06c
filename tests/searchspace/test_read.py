# ruff: noqa: E501  (golden messages are as long as they are)
import re
from random import Random

import pytest
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

_HEAD = "space s : image[3, 8, 8] -> classes[2]\n"
_NET = _HEAD + "domain k = 3 | 5\ndomain act = gelu | relu\nnet -> depthwise(k) activation(act) "


def _message(text: str, **options) -> str:
    with pytest.raises(GrammarError) as caught:
        read_grammar(text, source="own.grammar", **options)
    return str(caught.value)


def _golden(expected: str) -> str:
    """What stands between the first and last line break, without the margin."""
    return "\n".join(line.removeprefix("    ") for line in expected.strip("\n").splitlines())


_FAULTS = {
    "empty file": (
        "",
        """
    own.grammar, line 1, column 1: expected 'space' or a statement in the first column; found the end
      
      ^
""",
    ),
    "comment only": (
        "# nothing\n\n# more\n",
        """
    own.grammar, line 1, column 1: expected 'space' or a statement in the first column; found the end
      # nothing
      ^
""",
    ),
    "no rule": (
        _HEAD,
        """
    own.grammar, line 1, column 1: a space needs a rule after its first line
      space s : image[3, 8, 8] -> classes[2]
      ^
""",
    ),
    "word out of place": (
        _HEAD + "net => eca\n",
        """
    own.grammar, line 2, column 5: expected '(' or '->' or 'is block'; found '='
      net => eca
          ^
""",
    ),
    "statement cut short, comment behind": (
        _HEAD + "net -> eca | # more\n\n# then\nrule -> eca\n",
        """
    own.grammar, line 2, column 13: expected a name or a weight or an integer; found the end
      net -> eca | # more
                  ^
""",
    ),
    "file cut short": (
        _HEAD + "net -> depthwise(",
        """
    own.grammar, line 2, column 18: expected a name or an integer; found the end
      net -> depthwise(
                       ^
""",
    ),
    "character of no token": (
        _HEAD + "net -> eca $\n",
        """
    own.grammar, line 2, column 12: expected '(' or '^' or '^^' or 'where' or 'with' or '|' or a name or a statement in the first column or the end of the file; found '$'
      net -> eca $
                 ^
""",
    ),
    "tab before the place": (
        _HEAD + "net\t-> gelu\n",
        """
    own.grammar, line 2, column 8: no rule or primitive 'gelu'
      net\t-> gelu
         \t   ^
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
        _HEAD + "domain k = 7 .. 3\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: the range of 'k' is empty: first <= last, step >= 1
      domain k = 7 .. 3
             ^
""",
    ),
    "range without step": (
        _HEAD + "domain k = 3 .. 7 step 0\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: the range of 'k' is empty: first <= last, step >= 1
      domain k = 3 .. 7 step 0
             ^
""",
    ),
    "endless range": (
        _HEAD + "domain k = 0 .. 100000\nnet -> eca ^ k\n",
        """
    own.grammar, line 2, column 8: a domain has at most 100000 values
      domain k = 0 .. 100000
             ^
""",
    ),
    "long integer": (
        _HEAD + "net -> eca ^ 1234567890\n",
        """
    own.grammar, line 2, column 14: an integer has at most 9 digits
      net -> eca ^ 1234567890
                   ^
""",
    ),
    "domain twice": (
        _HEAD + "domain k = 3\ndomain k = 5\nnet -> depthwise(k)\n",
        """
    own.grammar, line 3, column 8: domain 'k' is defined already
      domain k = 5
             ^
""",
    ),
    "domain called classes": (
        _HEAD + "domain classes = 3\nnet -> eca\n",
        """
    own.grammar, line 2, column 8: domain 'classes' is defined already
      domain classes = 3
             ^
""",
    ),
    "value twice": (
        _HEAD + "domain k = 3 | 5 | 3\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: domain 'k' lists a value twice
      domain k = 3 | 5 | 3
             ^
""",
    ),
    "integers and words": (
        _HEAD + "domain k = 3 | gelu\nnet -> depthwise(k)\n",
        """
    own.grammar, line 2, column 8: domain 'k' mixes integers and words
      domain k = 3 | gelu
             ^
""",
    ),
    "rule twice": (
        _HEAD + "net -> eca\nnet -> eca\n",
        """
    own.grammar, line 3, column 1: rule 'net' is defined already
      net -> eca
      ^
""",
    ),
    "rule called like a primitive": (
        _HEAD + "net -> eca\neca -> shift\n",
        """
    own.grammar, line 3, column 1: 'eca' is a primitive; give the rule another name
      eca -> shift
      ^
""",
    ),
    "parameter twice": (
        _HEAD + "net -> f(1, 2)\nf(a, a) -> eca\n",
        """
    own.grammar, line 3, column 1: rule 'f' has two parameters of one name
      f(a, a) -> eca
      ^
""",
    ),
    "unused domain": (
        _HEAD + "domain k = 3\nnet -> eca\n",
        """
    own.grammar, line 2, column 8: domain 'k' is not used: use it or delete it
      domain k = 3
             ^
""",
    ),
    "unreachable rule": (
        _HEAD + "net -> eca\nleft -> right\nright -> left | eca\n",
        """
    own.grammar, line 3, column 1: rule 'left' cannot be reached from 'net'
      left -> right
      ^
""",
    ),
    "endless rule": (
        _HEAD + "net -> eca f\nf -> residual(g) eca\ng -> eca f\n",
        """
    own.grammar, line 3, column 1: rule 'f' never ends: give it an alternative without itself
      f -> residual(g) eca
      ^
""",
    ),
    "endless alternative": (
        _HEAD + "net -> eca | f\n       | shift\nf -> f | f eca\n",
        """
    own.grammar, line 2, column 14: this alternative never ends
      net -> eca | f
                   ^
""",
    ),
    "start with parameters": (
        _HEAD + "net(a) -> eca ^ a\n",
        """
    own.grammar, line 2, column 1: the first rule takes no parameters
      net(a) -> eca ^ a
      ^
""",
    ),
    "unknown rule, near one": (
        _HEAD + "net -> depthwize(3)\n",
        """
    own.grammar, line 2, column 8: no rule or primitive 'depthwize'; did you mean 'depthwise'?
      net -> depthwize(3)
             ^
""",
    ),
    "unknown domain, near one": (
        _NET + "eca ^ n with n : acts\n",
        """
    own.grammar, line 4, column 54: no domain 'acts'; did you mean 'act'?
      net -> depthwise(k) activation(act) eca ^ n with n : acts
                                                           ^
""",
    ),
    "unknown variable, near one": (
        _NET + "eca ^ width with widths : k\n",
        """
    own.grammar, line 4, column 43: no variable 'width' here; did you mean 'widths'?
      net -> depthwise(k) activation(act) eca ^ width with widths : k
                                                ^
""",
    ),
    "variable of another alternative": (
        _HEAD + "domain k = 3 | 5\nnet -> depthwise(a) with a : k | depthwise(a)\n",
        """
    own.grammar, line 3, column 44: no variable 'a' here
      net -> depthwise(a) with a : k | depthwise(a)
                                                 ^
""",
    ),
    "domain in a constraint": (
        _NET + "where k <= 3\n",
        """
    own.grammar, line 4, column 43: 'k' is a domain: draw a variable from it by 'with' first
      net -> depthwise(k) activation(act) where k <= 3
                                                ^
""",
    ),
    "variable called like a domain": (
        _NET + "eca ^ k with k : k\n",
        """
    own.grammar, line 4, column 50: 'k' has a meaning here already
      net -> depthwise(k) activation(act) eca ^ k with k : k
                                                       ^
""",
    ),
    "variable twice": (
        _NET + "eca ^ a with a, a : k\n",
        """
    own.grammar, line 4, column 53: 'a' has a meaning here already
      net -> depthwise(k) activation(act) eca ^ a with a, a : k
                                                          ^
""",
    ),
    "too few arguments of a primitive": (
        _HEAD + "net -> inverted(4)\n",
        """
    own.grammar, line 2, column 8: inverted(ratio, act) takes 2 arguments; got 1
      net -> inverted(4)
             ^
""",
    ),
    "too many arguments of a rule": (
        _HEAD + "net -> f(1)\nf -> eca\n",
        """
    own.grammar, line 2, column 8: f takes 0 arguments; got 1
      net -> f(1)
             ^
""",
    ),
    "composite without a body": (
        _HEAD + "net -> residual\n",
        """
    own.grammar, line 2, column 8: residual(…) takes 1 argument; got 0
      net -> residual
             ^
""",
    ),
    "composite of a number": (
        _HEAD + "net -> residual(3)\n",
        """
    own.grammar, line 2, column 17: residual takes a sequence of rules and primitives here
      net -> residual(3)
                      ^
""",
    ),
    "wrong keyword": (
        _HEAD + "net -> strided_conv(out: 8, kernel: 2)\n",
        """
    own.grammar, line 2, column 29: 'stride' comes here; got 'kernel'
      net -> strided_conv(out: 8, kernel: 2)
                                  ^
""",
    ),
    "call for a value": (
        _HEAD + "net -> depthwise(shift eca)\n",
        """
    own.grammar, line 2, column 18: a single value comes here
      net -> depthwise(shift eca)
                       ^
""",
    ),
    "repetition for a value": (
        _HEAD + "domain k = 3\nnet -> depthwise(k ^ 2)\n",
        """
    own.grammar, line 3, column 18: a single value comes here
      net -> depthwise(k ^ 2)
                       ^
""",
    ),
    "unknown word": (
        _HEAD + "net -> activation(mish)\n",
        """
    own.grammar, line 2, column 19: no variable 'mish' here
      net -> activation(mish)
                        ^
""",
    ),
    "wrong word in a domain": (
        _HEAD + "domain act = gelu | mish\nnet -> plain(act)\n",
        """
    own.grammar, line 3, column 14: act must be one of gelu, silu, relu; got mish
      net -> plain(act)
                   ^
""",
    ),
    "even kernel": (
        _HEAD + "net -> depthwise(4)\n",
        """
    own.grammar, line 2, column 18: kernel must be odd; got 4
      net -> depthwise(4)
                       ^
""",
    ),
    "kernel without branches": (
        _HEAD + "net -> dilated_reparam(3)\n",
        """
    own.grammar, line 2, column 24: kernel must be one of 5, 7, 9, 11, 13, 15, 17; got 3
      net -> dilated_reparam(3)
                             ^
""",
    ),
    "even kernel by a parameter": (
        _HEAD + "domain k = 3 .. 5\nnet -> f(k)\nf(size) -> shift depthwise(size)\n",
        """
    own.grammar, line 4, column 18: kernel must be odd; got 4
      f(size) -> shift depthwise(size)
                       ^
""",
    ),
    "even kernel in the first of many arguments": (
        _HEAD + "domain j = 3 | 12\ndomain k = 3 | 5 | 7 | 9 | 11\nnet -> f(j, k, k, k, k, k)\n"
        "f(a, b, c, d, e, h) -> g(b, a, c, d, e, h) eca\n"
        "g(b, a, c, d, e, h) -> depthwise(h) depthwise(a) depthwise(b) depthwise(c)\n"
        "    depthwise(d) depthwise(e)\n",
        """
    own.grammar, line 6, column 37: kernel must be odd; got 12
      g(b, a, c, d, e, h) -> depthwise(h) depthwise(a) depthwise(b) depthwise(c)
                                          ^
""",
    ),
    "even kernel by arithmetic": (
        _HEAD + "domain k = 3 .. 5\nnet -> depthwise(a * 2 - 1 + b) with a, b : k where b < 5\n",
        """
    own.grammar, line 3, column 8: kernel must be odd; got 8
      net -> depthwise(a * 2 - 1 + b) with a, b : k where b < 5
             ^
""",
    ),
    "zero stride": (
        _HEAD + "net -> strided_conv(8, 0)\n",
        """
    own.grammar, line 2, column 24: stride must be an integer of at least 1; got 0
      net -> strided_conv(8, 0)
                             ^
""",
    ),
    "word for a count": (
        _NET + "eca ^ act\n",
        """
    own.grammar, line 4, column 37: a count must be an integer of at least 0; got gelu
      net -> depthwise(k) activation(act) eca ^ act
                                          ^
""",
    ),
    "count below zero": (
        _HEAD + "domain k = 3 | 5\nnet -> f(a - 4) with a : k\nf(n) -> eca ^ n\n",
        """
    own.grammar, line 4, column 9: a count must be an integer of at least 0; got -1
      f(n) -> eca ^ n
              ^
""",
    ),
    "arithmetic with a word": (
        _NET + "f(a) with a : act\nf(x) -> g(x + 1)\ng(n) -> eca ^ n\n",
        """
    own.grammar, line 5, column 9: 'x' is a word, which has no arithmetic
      f(x) -> g(x + 1)
              ^
""",
    ),
    "word compared by size": (
        _NET + "with a, b : act where a != b, a < b\n",
        """
    own.grammar, line 4, column 53: 'a' is a word, which only == and != compare
      net -> depthwise(k) activation(act) with a, b : act where a != b, a < b
                                                          ^
""",
    ),
    "weight of zero": (
        _HEAD + "net -> eca | 0.0 : shift\n",
        """
    own.grammar, line 2, column 14: a weight must be above 0, and at most 1000000
      net -> eca | 0.0 : shift
                   ^
""",
    ),
    "weight without end": (
        _HEAD + "net -> eca | " + "9" * 70 + ".0 : shift\n",
        f"""
    own.grammar, line 2, column 14: a weight must be above 0, and at most 1000000
      net -> eca | {"9" * 70}.0 : shift
                   ^
""",
    ),
    "constraints that nothing keeps": (
        _NET + "eca ^ a with a, b : k\n    where a < b, b < a + 2\n",
        """
    own.grammar, line 5, column 5: no values keep these constraints
          where a < b, b < a + 2
          ^
""",
    ),
    "arguments that no alternative allows": (
        _HEAD + "domain k = 3 | 5\nnet -> eca f(k)\nf(n) -> shift where n == 3\n",
        """
    own.grammar, line 3, column 12: no alternative of 'f' allows (5)
      net -> eca f(k)
                 ^
""",
    ),
    "repetition inside an argument": (
        _HEAD + "net -> residual(shift eca ^ 2)\n",
        """
    own.grammar, line 2, column 23: repeat inside an argument by a rule of its own
      net -> residual(shift eca ^ 2)
                            ^
""",
    ),
    "calls inside calls": (
        _HEAD + "net -> " + "residual(" * 90 + "eca" + ")" * 90 + "\n",
        """
    own.grammar, line 2, column 341: this nests too deep: give the inner part a rule
      dual(residual(residual(residual(residual(residual(residual(residual(residual(residual(residual(resid
                                                                 ^
""",
    ),
    "rules inside rules": (
        _HEAD + "".join(f"r{i} -> r{i + 1}\n" for i in range(60)) + "r60 -> eca\n",
        """
    own.grammar, line 2, column 1: the lowest tree is 62 levels high; at most 60
      r0 -> r1
      ^
""",
    ),
}


@pytest.mark.parametrize("name", _FAULTS)
def test_faults_are_shown_where_they_are_with_the_cure(name):
    text, expected = _FAULTS[name]
    assert _message(text) == _golden(expected)
    if "\t" not in text:
        assert _message(text.replace("\n", "\r\n")) == _golden(expected)


def test_line_and_column_are_those_of_the_message():
    with pytest.raises(GrammarError) as caught:
        read_grammar(_HEAD + "\n\nnet -> eca\n  gelu\n")
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
        read_grammar(_NET, limits=limits)


def test_limits_that_leave_a_constraint_without_values_are_a_fault_of_the_grammar():
    text = _NET + "depthwise(a) with a : k where a > 3\n"
    assert read_grammar(text, limits={"k": (5, 5)}).domains["k"].values == (5,)
    assert "no values keep these constraints" in _message(text, limits={"k": (3, 3)})


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
        read_grammar(_NET, **options)


@pytest.mark.parametrize(
    "text",
    [
        # A constraint makes good what the domain alone would do wrong.
        _HEAD + "domain k = 3 .. 9\nnet -> dilated_reparam(a) with a : k where a == 5\n",
        _HEAD + "domain k = 3 .. 9\nnet -> f(a, b) with a, b : k where a < b\n"
        "f(a, b) -> g(b - a - 1)\ng(n) -> eca ^ n\n",
        # Only the way through the constraints tells that b is 5.
        _HEAD + "domain k = 4 | 5\nnet -> f(b) with a, b : k where a < b\n"
        "f(n) -> depthwise(n) eca ^ n where n > 4\n",
        # A recursion that counts down.
        _HEAD + "net -> f(9)\nf(n) -> eca f(n - 1) where n > 0 | bias where n == 0\n",
        # Rules may be called like words of the language where these cannot stand.
        _HEAD + "net -> space step domains\nspace -> eca\nstep -> bias\ndomains -> eca\n",
        # Keywords, a parameter that hides a domain, tabs, a comment between, no last line break.
        _HEAD + "domain k\t= 3 | 5 # sizes\nnet -> f(k: 3) depthwise(kernel: k)\n"
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
    read_grammar(_HEAD + "net -> several(eca, bias eca)\n", primitives=several)
    read_grammar(_HEAD + "net -> several(eca)\n", primitives=several)
    message = _message(_HEAD + "net -> several\n", primitives=several)
    assert "several(…) takes at least 1 argument; got 0" in message


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
    | st.text(max_size=40).map(lambda text: _HEAD + text)
    | st.lists(st.sampled_from([*_WORDS.split(), "\n", "is block", "\x0c", " "]), max_size=30).map(
        lambda words: _HEAD + " ".join(words)
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
        _HEAD + "net -> f(" + "1 + " * 20_000 + "1)\nf(n) -> eca ^ n\n",
        _HEAD + "net -> " + "eca " * 20_000 + "$",
        space_text("conv_large_kernel") * 50,
        _HEAD + "domain k = " + " | ".join(map(str, range(20_000))) + " | 3\nnet -> eca ^ k\n",
    ],
    ids=["name", "brackets", "lines", "sum", "items", "many headers", "choices"],
)
def test_huge_texts_are_grammar_errors(text):
    assert len(_message(text)) < 1000


def _reads_or_refuses(text: str) -> None:
    try:
        grammar = read_grammar(text)
    except GrammarError:
        return
    check(grammar, sample(grammar, Random(0)).root)
