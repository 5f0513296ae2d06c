"""Broken grammar files and trees: every one is read, or refused with the project's own error.

    python -m benchmarks.fuzz [--cases 10000] [--seed 0]

Each case takes the text of a shipped space, or of one of its trees, and damages it: words are
swapped, doubled, dropped or replaced by others of the language, numbers by extreme ones. What is
then read is drawn from. Reported are the cases read and refused, the slowest, and the peak memory;
any other exception ends the run with its text.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
import time
from collections import Counter
from random import Random

from searchspace.check import TreeError, check
from searchspace.grammar import GrammarError
from searchspace.read import read_grammar
from searchspace.room import DrawError
from searchspace.sample import sample
from searchspace.shapes import ShapeError
from searchspace.space import load_space, space_names, space_text
from searchspace.text import TreeTextError, from_text

_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+|\S|\s+")
_EXTREME = ("0", "1", "-1", "999999999", "1000000000000", "^^", "(", ")", "|", "->", "where", "\n")
_SMALL = """\
space small : image[3, 16, 16] -> classes[10]
domain w = 4 .. 16 step 4
domain k = 3 | 5
limit nodes <= 60
net -> stem(a) module ^ n head with a : w ; n : k
stem(a) is block -> strided_conv(a, 2) batch_norm
module -> 3 : residual(depthwise(k) eca) | 1 : module module | 1 : branch(add, module, module)
head -> global_pool classifier(classes)
"""


def damaged(text: str, random: Random) -> str:
    """The text with one to six words changed."""
    words = _WORDS.findall(text)
    for _ in range(random.randint(1, 6)):
        place, other = random.randrange(len(words)), random.randrange(len(words))
        change = random.randrange(5)
        if change == 0:
            words[place] = random.choice(_EXTREME)
        elif change == 1:
            words[place], words[other] = words[other], words[place]
        elif change == 2:
            words.insert(place, words[other])
        elif change == 3 and len(words) > 2:
            del words[place]
        else:
            words[place] = words[other]
    return "".join(words)


def attempt(text: str, random: Random, *, tree: bool) -> str:
    """What became of one case: the name of the error, or `read`."""
    try:
        if tree:
            check(_GRAMMARS[0], from_text(text))
        else:
            grammar = read_grammar(text)
            check(grammar, sample(grammar, random).root)
    except (GrammarError, TreeTextError, TreeError, ShapeError, DrawError) as fault:
        return type(fault).__name__
    return "read"


_GRAMMARS = [read_grammar(_SMALL)]


def main() -> int:
    """Run all cases and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = Random(args.seed)
    quick = [n for n in space_names() if n in ("einspace", "vit", "pooling", "hybrid")]
    texts = [_SMALL] * 12 + [space_text(name) for name in quick]
    load_space("vit")
    found: Counter[str] = Counter()
    slowest, case = 0.0, ""
    for number in range(args.cases):
        tree = number % 2 == 1
        text = sample(_GRAMMARS[0], random).text if tree else random.choice(texts)
        text = damaged(text, random)
        start = time.process_time()
        found[("tree " if tree else "grammar ") + attempt(text, random, tree=tree)] += 1
        took = time.process_time() - start
        if took > slowest:
            slowest, case = took, text
        if sys.stderr.isatty() and number % 100 == 0:
            print(f"\r{number}", end="", file=sys.stderr)
    for outcome, times in sorted(found.items()):
        print(f"{outcome:28} {times}")
    print(f"slowest {slowest:.2f} s of CPU; peak memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")  # fmt: skip
    if slowest > 10:
        print(f"the slowest case:\n{case}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
