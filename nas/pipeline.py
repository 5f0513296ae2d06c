"""A whole run, from its configuration to the exported winner."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from torch import nn

from nas.assemble import Parts, assemble, design_task, objectives
from nas.config import Config
from nas.export.folder import export
from nas.record import (
    BEST,
    CERTIFICATE,
    FRONT_PLOT,
    RESULT,
    Record,
    create,
    read_result,
    write_json,
    write_text,
)
from nas.report.architecture import architecture_table, scheme_line
from nas.report.certificate import certificate, certificate_lines
from nas.report.form import form
from nas.report.front import points_table, ranked_table
from nas.report.front_plot import front_svg
from nas.report.result import result
from nas.report.tables import front_table
from nas.search import Progress, first_proposals, front_of, run
from nas.threads import torch_threads
from nas.trial import Trial
from searchspace.architecture import Architecture

if TYPE_CHECKING:
    from nas.solver.design import Certificate
    from nas.solver.solution import Progress as SolverProgress

DATA_FREE = (
    "Data-free: ranked by {score}, a training-free score; no accuracy is known. "
    "Add --data to train a supernet and rank by accuracy."
)
WITH_DATA = "Ranked by the accuracy on {data} with weights inherited from a supernet."
SCHEMES_SEARCHED = (
    "Precision is searched, priced and scored for each block; scores do not compare with those of "
    "a run without --quantize. The exported module is in float: real quantized modules are not "
    "part of this release."
)


def new_folder(parent: Path, config: Config) -> Path:
    """A folder for a new run that nothing has yet, named by time, space and target."""
    space, target = Path(config.space).stem, Path(config.target).stem
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{space}-{target}"
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def perform(folder: Path, config: Config, *, as_json: bool, resume: bool) -> int:
    """Run a configuration in a folder to its end, or go on from where the folder's record ends.

    Args:
        folder: the run's folder; new unless `resume`.
        config: what to run.
        as_json: print the result as one JSON object to standard output, all else to standard error.
        resume: go on with what the folder holds.

    Returns:
        The exit code.
    """
    people = Console(stderr=as_json)
    if resume and (folder / RESULT).exists():
        outcome = read_result(folder)
        people.print(f"{folder} is finished; this is its result.", markup=False, highlight=False)
        _show(people, folder, outcome, as_json)
        return 0
    parts = assemble(config)
    # Before there is a folder: an impossible budget or a strategy that cannot be made leaves none.
    proof = _proof(parts, folder, people) if config.start == "solver" else None
    first = proof.architectures(parts.grammar) if proof else first_proposals(parts)
    parts.strategy(first)
    record = Record(folder, config, objectives(config)) if resume else _create(folder, config)
    with record:
        if proof is not None:
            write_json(folder / CERTIFICATE, proof.to_json())
        people.print(f"run {folder}", markup=False, highlight=False)
        said = WITH_DATA if config.data else DATA_FREE
        score = config.predictor or "DeepMAD's entropy"
        people.print(said.format(score=score, data=config.data), markup=False)
        if config.quantize:
            people.print(SCHEMES_SEARCHED, markup=False)
        try:
            outcome = _search(parts, record, folder, first)
            if proof is not None:
                outcome["certificate"] = certificate(proof, _looks(parts))
                _plot(folder, config, outcome["certificate"])
            record.write_result(outcome)
        except (KeyboardInterrupt, OSError):
            people.print(
                f"stopped; go on with 'nas resume {folder}'", markup=False, highlight=False
            )
            raise
    _show(people, folder, outcome, as_json)
    return 0


def _proof(parts: Parts, folder: Path, people: Console) -> Certificate:
    """The solver's designs: those that the folder holds, or new ones.

    Raises:
        ChainError, NoDesignError: see `nas.solver.design.certify`.
        UsageError: see `design_task`.
    """
    from nas.solver.design import Certificate, certify  # only where it is asked for

    try:
        return Certificate.from_json(json.loads((folder / CERTIFICATE).read_text("utf-8")))
    except FileNotFoundError:
        # A new run, or one that was stopped before its proof was written.
        pass
    wanted = design_task(parts)  # what is at fault is told before there is a bar
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[closed]}"),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("state", total=1.0, closed="")

        def hear(what: str, part: float, progress: SolverProgress | None) -> None:
            closed = ""
            if progress is not None and progress.design_known:
                closed = f"score {progress.score:,.4g}, at most {progress.bound:,.4g}"
                closed += f", gap {progress.gap:.1%}"
            bar.update(task, description=what, completed=part, closed=closed)

        with torch_threads(1):
            return certify(wanted, hear)


def _looks(parts: Parts) -> Callable[[Architecture], Mapping[str, Any]]:
    """Describes designs, each once."""
    return cache(lambda architecture: form(architecture, parts.evaluator.table))


def _plot(folder: Path, config: Config, record: Mapping[str, Any]) -> None:
    """The picture of the front, where there is one."""
    if "front" in record:
        title = f"{Path(config.space).stem} on {Path(config.target).stem}"
        write_text(folder / FRONT_PLOT, front_svg(record["front"], title))


def _create(folder: Path, config: Config) -> Record:
    return create(folder, config, objectives(config))


def _search(
    parts: Parts, record: Record, folder: Path, first: tuple[Architecture, ...]
) -> dict[str, Any]:
    """The search itself, the choice, and the export of what was chosen."""
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
        console=Console(stderr=True),
    )
    module: nn.Module | None = None
    extra: dict[str, float] = {}
    with bar:
        if parts.config.data is None:
            front = front_of(parts, _run(parts, record, first, bar))
        else:
            from nas.data_search import judged, train_winner  # only where there are data

            with judged(parts, folder, bar):
                front = front_of(parts, _run(parts, record, first, bar))
            module, extra = train_winner(parts, front[0], bar)
    best = front[0]
    export(
        best.architecture,
        parts.spec,
        folder / BEST,
        weights=module,
        seed=parts.config.seed,
        facts=_facts(parts, best, extra),
    )
    return result(folder, best, front, extra=extra, looks=_looks(parts))


def _run(parts: Parts, record: Record, first: tuple[Architecture, ...], bar: Bar) -> list[Trial]:
    task = bar.add_task("search", total=parts.config.evaluations, best="")
    name = parts.objectives[0].name

    def show(progress: Progress) -> None:
        best = progress.best
        text = "none feasible yet"
        if best is not None:
            text = f"{name} {best.values[name]:,.4g} at {best.values['latency_ms']:.3f} ms"
        if progress.resumed:
            text += f", {progress.resumed} recorded"
        bar.update(task, completed=progress.done, best=text)

    trials = run(parts, record, first, show)
    bar.update(task, total=len(trials))
    return trials


def _facts(parts: Parts, best: Trial, extra: Mapping[str, float]) -> dict[str, Any]:
    config = parts.config
    facts: dict[str, Any] = {
        "target": config.target,
        "runtime": parts.target.runtime.name,
        "batch": config.batch,
        "precision": config.precision,
        "budget_ms": config.budget_ms,
        "seed": config.seed,
    }
    return {**facts, **best.values, **extra}


def _show(people: Console, folder: Path, outcome: Mapping[str, Any], as_json: bool) -> None:
    people.print(front_table(outcome))
    people.print(architecture_table(outcome["best"]["architecture"]))
    schemes = scheme_line(outcome["best"]["architecture"])
    if schemes:
        people.print(schemes, highlight=False)
    best = outcome["best"]
    if "test_accuracy" in best:
        people.print(
            f"trained alone: {best['test_accuracy']:.2%} on test data that the search never saw",
            highlight=False,
        )
    if "certificate" in outcome:
        _show_proof(people, folder, outcome["certificate"])
    people.print(
        f"exported to {folder / BEST}: run 'python {folder / BEST}/model.py', "
        f"or nas.load('{folder / BEST}')",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if as_json:
        json.dump(outcome, sys.stdout, indent=2)
        print()


def _show_proof(people: Console, folder: Path, proof: Mapping[str, Any]) -> None:
    for line in certificate_lines(proof):
        people.print(line, markup=False, highlight=False)
    if len(proof.get("ranked", ())) > 1:
        people.print(ranked_table(proof))
    if "front" in proof:
        people.print(points_table(proof["front"]))
        people.print(f"its picture: {folder / FRONT_PLOT}", markup=False, highlight=False)
