"""What a run leaves behind, and how it is read again.

A run's folder holds `config.json` (the complete configuration), `journal.log` (an Optuna study in
Optuna's journal format, one trial a candidate, so `optuna-dashboard` opens it), `result.json` (the
outcome) and `best/` (the exported winner). The journal only grows: an append is on disk before it
counts, and a line that a kill cut short is dropped when the run is opened again, since nothing
built on it.
"""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.config import Config, ConfigError
from nas.objectives import Objective
from nas.trial import Status, Trial
from searchspace.architecture import Architecture
from searchspace.grammar import Grammar
from searchspace.text import TreeTextError, from_text

CONFIG, JOURNAL, RESULT, BEST, LOCK = "config.json", "journal.log", "result.json", "best", "lock"
CERTIFICATE, FRONT_PLOT = "certificate.json", "front.svg"
_STUDY = "search"
_STATUSES = get_args(Status)
# What Optuna raises where a line of its journal is JSON, but none that it wrote.
_UNREADABLE = (AssertionError, LookupError, OptunaError, TypeError, ValueError)


class RecordError(RuntimeError):
    """A run's folder that is missing, damaged, or in use."""


class Record:
    """The durable record of one run. One process at a time may hold it; use it in a `with`."""

    def __init__(self, folder: Path, config: Config, objectives: Sequence[Objective]) -> None:
        self.folder, self.config = folder, config
        self._objectives = tuple(objectives)
        self._lock = _hold(folder)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder / JOURNAL
        _drop_torn_line(path)
        # A killed process leaves Optuna's lock behind; the run's own lock is held, so it is stale.
        Path(f"{path}.lock").unlink(missing_ok=True)
        self._journal = _Journal(path)
        try:
            self._study = optuna.create_study(
                study_name=_STUDY,
                storage=JournalStorage(self._journal),
                directions=[objective.direction for objective in self._objectives],
                load_if_exists=True,
            )
            names = [objective.name for objective in self._objectives]
            if self._study.metric_names != names:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    self._study.set_metric_names(names)
        except _UNREADABLE as fault:
            raise RecordError(
                f"{path} is damaged ({fault}): restore it, or start a new run"
            ) from fault

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder free."""
        os.close(self._lock)

    def trials(self) -> list[Trial]:
        """Every recorded candidate, in the order it was recorded.

        Raises:
            RecordError: an entry is not what this release writes.
        """
        return [_to_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def append(self, trials: Sequence[Trial], grammar: Grammar) -> None:
        """Write trials to disk; when this returns, they are durable.

        Raises:
            OSError: the disk is full or fails; what was recorded before is untouched.
        """
        with self._journal.together():
            self._study.add_trials([self._to_frozen(trial, grammar) for trial in trials])

    def _to_frozen(self, trial: Trial, grammar: Grammar) -> FrozenTrial:
        names = [objective.name for objective in self._objectives]
        values = [trial.values[name] for name in names if name in trial.values]
        complete = trial.status != "failed" and len(values) == len(names)
        params, distributions = _variables(trial.architecture, grammar)
        return create_trial(
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            values=values if complete else None,
            params=params,
            distributions=distributions,
            constraints={name: float(value) for name, value in trial.violations.items()},
            user_attrs={
                "number": trial.number,
                "key": trial.architecture.key,
                "space": trial.architecture.space,
                "architecture": trial.architecture.text,
                "status": trial.status,
                "reason": trial.reason,
                "values": dict(trial.values),
                "violations": dict(trial.violations),
            },
        )

    def write_result(self, result: dict[str, Any]) -> None:
        """Write `result.json`, whole or not at all."""
        write_json(self.folder / RESULT, result)


def create(folder: Path, config: Config, objectives: Sequence[Objective]) -> Record:
    """Begin a run in a new folder.

    Raises:
        RecordError: the folder holds a run already.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        raise RecordError(
            f"{folder} holds a run already: go on with 'nas resume {folder}', or give another --out"
        )
    write_json(folder / CONFIG, config.to_json())
    return Record(folder, config, objectives)


def read_config(folder: Path) -> Config:
    """The configuration of a run.

    Raises:
        RecordError: there is no run at `folder`, or its configuration is damaged.
    """
    path = folder / CONFIG
    try:
        return Config.from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise RecordError(f"{folder} is no run: it has no {CONFIG}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ConfigError, TypeError) as fault:
        raise RecordError(f"{path} is damaged: {fault}") from None


def read_result(folder: Path) -> dict[str, Any]:
    """The outcome of a finished run.

    Raises:
        RecordError: the run is not finished, or its result is damaged.
    """
    path = folder / RESULT
    try:
        outcome: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not isinstance(outcome["front"], list) or "key" not in outcome["best"]:
            raise KeyError("front")
    except FileNotFoundError:
        raise RecordError(
            f"{folder} has no result yet: finish it with 'nas resume {folder}'"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as fault:
        raise RecordError(
            f"{path} is damaged ({fault}): delete it and resume, which makes it again"
        ) from None
    return outcome


def write_json(path: Path, value: object) -> None:
    """Write a JSON file so that after a crash the old or the new one stands, never a part."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in the same way."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _hold(folder: Path) -> int:
    """Lock the folder for this process; the system frees the lock however the process ends."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RecordError(
            f"{folder} is in use by another process: wait for it or stop it"
        ) from None
    return handle


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


class _Journal(BaseJournalBackend):
    """Optuna's journal file, with appends that can be gathered into one write."""

    def __init__(self, path: Path) -> None:
        self._file = JournalFileBackend(str(path))
        self._held: list[dict[str, Any]] | None = None
        self._base = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        number = log_number_from
        if self._held is None or number < self._base:
            for log in self._file.read_logs(log_number_from):
                number += 1
                yield log
            self._base = max(self._base, number)
        yield from (self._held or [])[number - self._base :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._held is None:
            self._file.append_logs(logs)
        else:
            self._held.extend(logs)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Gather appends and write them at the end, with one wait for the disk."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                self._file.append_logs(held)
                self._base += len(held)


def _variables(
    architecture: Architecture, grammar: Grammar
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The start rule's variables, as parameters that a dashboard can plot."""
    root = architecture.root
    alternative = grammar.rules[root.symbol].alternatives[root.alternative]
    pairs = list(zip(alternative.draws, root.values, strict=True))
    params = {name: value for (name, _), value in pairs}
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(domain.values) for (name, domain), _ in pairs
    }
    return params, distributions


def _to_trial(frozen: FrozenTrial) -> Trial:
    found = frozen.user_attrs
    try:
        root = from_text(found["architecture"])
        architecture = Architecture(space=found["space"], root=root)
        if architecture.key != found["key"]:
            raise TreeTextError(f"its tree's key is {architecture.key}, not {found['key']}")
        if found["status"] not in _STATUSES:
            raise TypeError(f"no trial is '{found['status']}'")
        return Trial(
            number=found["number"],
            architecture=architecture,
            status=found["status"],
            values=found["values"],
            violations=found["violations"],
            reason=found["reason"],
        )
    except (KeyError, TypeError, TreeTextError) as fault:
        raise RecordError(
            f"trial {frozen.number} of the run's journal is damaged: {fault}"
        ) from None
