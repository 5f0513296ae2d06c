"""Names, calls and weights that mean nothing where they stand: the message and the place."""

import pytest
from grammar_faults import HEAD, NET, assert_shown

FAULTS = {
    "unknown rule, near one": (
        HEAD + "net -> depthwize(3)\n",
        """
    own.grammar, line 2, column 8: no rule or primitive 'depthwize'; did you mean 'depthwise'?
      net -> depthwize(3)
             ^
""",
    ),
    "unknown domain, near one": (
        NET + "eca ^ n with n : acts\n",
        """
    own.grammar, line 4, column 54: no domain 'acts'; did you mean 'act'?
      net -> depthwise(k) activation(act) eca ^ n with n : acts
                                                           ^
""",
    ),
    "unknown variable, near one": (
        NET + "eca ^ width with widths : k\n",
        """
    own.grammar, line 4, column 43: no variable 'width' here; did you mean 'widths'?
      net -> depthwise(k) activation(act) eca ^ width with widths : k
                                                ^
""",
    ),
    "variable of another alternative": (
        HEAD + "domain k = 3 | 5\nnet -> depthwise(a) with a : k | depthwise(a)\n",
        """
    own.grammar, line 3, column 44: no variable 'a' here
      net -> depthwise(a) with a : k | depthwise(a)
                                                 ^
""",
    ),
    "domain in a constraint": (
        NET + "where k <= 3\n",
        """
    own.grammar, line 4, column 43: 'k' is a domain: draw a variable from it by 'with' first
      net -> depthwise(k) activation(act) where k <= 3
                                                ^
""",
    ),
    "variable called like a domain": (
        NET + "eca ^ k with k : k\n",
        """
    own.grammar, line 4, column 50: 'k' has a meaning here already
      net -> depthwise(k) activation(act) eca ^ k with k : k
                                                       ^
""",
    ),
    "variable twice": (
        NET + "eca ^ a with a, a : k\n",
        """
    own.grammar, line 4, column 53: 'a' has a meaning here already
      net -> depthwise(k) activation(act) eca ^ a with a, a : k
                                                          ^
""",
    ),
    "too few arguments of a primitive": (
        HEAD + "net -> inverted(4)\n",
        """
    own.grammar, line 2, column 8: inverted(ratio, act) takes 2 arguments; got 1
      net -> inverted(4)
             ^
""",
    ),
    "too many arguments of a rule": (
        HEAD + "net -> f(1)\nf -> eca\n",
        """
    own.grammar, line 2, column 8: f takes 0 arguments; got 1
      net -> f(1)
             ^
""",
    ),
    "composite without a body": (
        HEAD + "net -> residual\n",
        """
    own.grammar, line 2, column 8: residual(…) takes 1 argument; got 0
      net -> residual
             ^
""",
    ),
    "composite of a number": (
        HEAD + "net -> residual(3)\n",
        """
    own.grammar, line 2, column 17: residual takes a sequence of rules and primitives here
      net -> residual(3)
                      ^
""",
    ),
    "wrong keyword": (
        HEAD + "net -> strided_conv(out: 8, kernel: 2)\n",
        """
    own.grammar, line 2, column 29: 'stride' comes here; got 'kernel'
      net -> strided_conv(out: 8, kernel: 2)
                                  ^
""",
    ),
    "call for a value": (
        HEAD + "net -> depthwise(shift eca)\n",
        """
    own.grammar, line 2, column 18: a single value comes here
      net -> depthwise(shift eca)
                       ^
""",
    ),
    "repetition for a value": (
        HEAD + "domain k = 3\nnet -> depthwise(k ^ 2)\n",
        """
    own.grammar, line 3, column 18: a single value comes here
      net -> depthwise(k ^ 2)
                       ^
""",
    ),
    "unknown word": (
        HEAD + "net -> activation(mish)\n",
        """
    own.grammar, line 2, column 19: no variable 'mish' here
      net -> activation(mish)
                        ^
""",
    ),
    "weight of zero": (
        HEAD + "net -> eca | 0.0 : shift\n",
        """
    own.grammar, line 2, column 14: a weight must be above 0, and at most 1000000
      net -> eca | 0.0 : shift
                   ^
""",
    ),
    "weight without end": (
        HEAD + "net -> eca | " + "9" * 70 + ".0 : shift\n",
        f"""
    own.grammar, line 2, column 14: a weight must be above 0, and at most 1000000
      net -> eca | {"9" * 70}.0 : shift
                   ^
""",
    ),
    "repetition inside an argument": (
        HEAD + "net -> residual(shift eca ^ 2)\n",
        """
    own.grammar, line 2, column 23: repeat inside an argument by a rule of its own
      net -> residual(shift eca ^ 2)
                            ^
""",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_shown_where_they_are_with_the_cure(name):
    assert_shown(*FAULTS[name])
