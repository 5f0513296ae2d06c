"""A space small enough that a run over it takes a moment, and what a run over it needs."""

from functools import cache
from pathlib import Path
from typing import Any

from nas.assemble import Parts, assemble, objectives
from nas.config import Config
from nas.record import Record, create
from nas.search import OnProgress, first_proposals, run
from nas.trial import Trial
from searchspace.grammar import Grammar
from searchspace.read import read_grammar

TEXT = """\
space small : image[3, 32, 32] -> classes[10]

domain width  = 8 .. 32 step 8
domain depth  = 1 .. 3
domain kernel = 3 | 5 | 7
domain large  = 5 | 7
domain ratio  = 1 | 2
domain act    = gelu | relu

network -> stem(w1) stage down(w2) stage head with w1, w2 : width where w1 <= w2

stem(w) is block -> strided_conv(w, 2) layer_norm
down(w) is block -> strided_conv(w, 2) batch_norm
head is block    -> global_pool classifier(classes)

stage -> block ^ depth

block is block -> residual(depthwise(kernel) layer_norm inverted(ratio, act))
                | residual(dilated_reparam(large) plain(act))
                | residual(max_pool(3) plain(act))
"""
SIX = """\
space six : image[3, 8, 8] -> classes[2]
domain width  = 8 | 16 | 24
domain kernel = 3 | 5
net -> stem(w) depthwise(k) global_pool classifier(classes) with w : width ; k : kernel
stem(w) is block -> strided_conv(w, 1)
"""
"""A space of six architectures."""


@cache
def grammar_of(text: str = TEXT) -> Grammar:
    return read_grammar(text)


def config(**changes: Any) -> Config:
    """The configuration of a small run."""
    settings: dict[str, Any] = {
        "space": "small.grammar",
        "space_text": TEXT,
        "target": "a100",
        "budget_ms": 0.12,
        "resolution": 32,
        "classes": 10,
        "evaluations": 60,
    }
    return Config(**{**settings, **changes})


def parts_of(configuration: Config) -> Parts:
    return assemble(configuration)


def begin(folder: Path, configuration: Config) -> Record:
    return create(folder, configuration, objectives(configuration))


def go_on(folder: Path, configuration: Config) -> Record:
    return Record(folder, configuration, objectives(configuration))


def perform(parts: Parts, record: Record, on_progress: OnProgress | None = None) -> list[Trial]:
    """A run from the start, or from where its record ends."""
    return run(parts, record, first_proposals(parts), on_progress)
