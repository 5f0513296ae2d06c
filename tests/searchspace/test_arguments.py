"""Values that what takes them does not allow: the message and the place."""

import pytest
from grammar_faults import HEAD, NET, assert_shown

FAULTS = {
    "wrong word in a domain": (
        HEAD + "domain act = gelu | mish\nnet -> plain(act)\n",
        """
    own.grammar, line 3, column 14: act must be one of gelu, silu, relu; got mish
      net -> plain(act)
                   ^
""",
    ),
    "even kernel": (
        HEAD + "net -> depthwise(4)\n",
        """
    own.grammar, line 2, column 18: kernel must be odd; got 4
      net -> depthwise(4)
                       ^
""",
    ),
    "kernel without branches": (
        HEAD + "net -> dilated_reparam(3)\n",
        """
    own.grammar, line 2, column 24: kernel must be one of 5, 7, 9, 11, 13, 15, 17; got 3
      net -> dilated_reparam(3)
                             ^
""",
    ),
    "even kernel by a parameter": (
        HEAD + "domain k = 3 .. 5\nnet -> f(k)\nf(size) -> shift depthwise(size)\n",
        """
    own.grammar, line 4, column 18: kernel must be odd; got 4
      f(size) -> shift depthwise(size)
                       ^
""",
    ),
    "even kernel in the first of many arguments": (
        HEAD + "domain j = 3 | 12\ndomain k = 3 | 5 | 7 | 9 | 11\nnet -> f(j, k, k, k, k, k)\n"
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
        HEAD + "domain k = 3 .. 5\nnet -> depthwise(a * 2 - 1 + b) with a, b : k where b < 5\n",
        """
    own.grammar, line 3, column 8: kernel must be odd; got 8
      net -> depthwise(a * 2 - 1 + b) with a, b : k where b < 5
             ^
""",
    ),
    "zero stride": (
        HEAD + "net -> strided_conv(8, 0)\n",
        """
    own.grammar, line 2, column 24: stride must be an integer of at least 1; got 0
      net -> strided_conv(8, 0)
                             ^
""",
    ),
    "word for a count": (
        NET + "eca ^ act\n",
        """
    own.grammar, line 4, column 37: a count must be an integer of at least 0; got gelu
      net -> depthwise(k) activation(act) eca ^ act
                                          ^
""",
    ),
    "count below zero": (
        HEAD + "domain k = 3 | 5\nnet -> f(a - 4) with a : k\nf(n) -> eca ^ n\n",
        """
    own.grammar, line 4, column 9: a count must be an integer of at least 0; got -1
      f(n) -> eca ^ n
              ^
""",
    ),
    "arithmetic with a word": (
        NET + "f(a) with a : act\nf(x) -> g(x + 1)\ng(n) -> eca ^ n\n",
        """
    own.grammar, line 5, column 9: 'x' is a word, which has no arithmetic
      f(x) -> g(x + 1)
              ^
""",
    ),
    "word compared by size": (
        NET + "with a, b : act where a != b, a < b\n",
        """
    own.grammar, line 4, column 53: 'a' is a word, which only == and != compare
      net -> depthwise(k) activation(act) with a, b : act where a != b, a < b
                                                          ^
""",
    ),
    "constraints that nothing keeps": (
        NET + "eca ^ a with a, b : k\n    where a < b, b < a + 2\n",
        """
    own.grammar, line 5, column 5: no values keep these constraints
          where a < b, b < a + 2
          ^
""",
    ),
    "arguments that no alternative allows": (
        HEAD + "domain k = 3 | 5\nnet -> eca f(k)\nf(n) -> shift where n == 3\n",
        """
    own.grammar, line 3, column 12: no alternative of 'f' allows (5)
      net -> eca f(k)
                 ^
""",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_shown_where_they_are_with_the_cure(name):
    assert_shown(*FAULTS[name])
