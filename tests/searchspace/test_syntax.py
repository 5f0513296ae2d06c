# ruff: noqa: E501  (golden messages are as long as they are)
"""Text that is no sequence of statements: the message, the place, and what was expected there."""

import pytest
from grammar_faults import HEAD, assert_shown

FAULTS = {
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
    "word out of place": (
        HEAD + "net => eca\n",
        """
    own.grammar, line 2, column 5: expected '(' or '->' or 'is block'; found '='
      net => eca
          ^
""",
    ),
    "statement cut short, comment behind": (
        HEAD + "net -> eca | # more\n\n# then\nrule -> eca\n",
        """
    own.grammar, line 2, column 13: expected a name or a weight or an integer; found the end
      net -> eca | # more
                  ^
""",
    ),
    "file cut short": (
        HEAD + "net -> depthwise(",
        """
    own.grammar, line 2, column 18: expected a name or an integer; found the end
      net -> depthwise(
                       ^
""",
    ),
    "character of no token": (
        HEAD + "net -> eca $\n",
        """
    own.grammar, line 2, column 12: expected '(' or '^' or '^^' or 'where' or 'with' or '|' or a name or a statement in the first column or the end of the file; found '$'
      net -> eca $
                 ^
""",
    ),
    "tab before the place": (
        HEAD + "net\t-> gelu\n",
        """
    own.grammar, line 2, column 8: no rule or primitive 'gelu'
      net\t-> gelu
         \t   ^
""",
    ),
    "long integer": (
        HEAD + "net -> eca ^ 1234567890\n",
        """
    own.grammar, line 2, column 14: an integer has at most 9 digits
      net -> eca ^ 1234567890
                   ^
""",
    ),
    "calls inside calls": (
        HEAD + "net -> " + "residual(" * 90 + "eca" + ")" * 90 + "\n",
        """
    own.grammar, line 2, column 341: this nests too deep: give the inner part a rule
      dual(residual(residual(residual(residual(residual(residual(residual(residual(residual(residual(resid
                                                                 ^
""",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_shown_where_they_are_with_the_cure(name):
    assert_shown(*FAULTS[name])
