"""One complete, frozen configuration of a run, saved with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, get_args, get_type_hints

FORMAT = "nas-config"
VERSION = 1


class ConfigError(ValueError):
    """A configuration that is not complete or not understood."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the outcome of a run."""

    space: str
    """Name of a space that ships, or path of a grammar file."""
    space_text: str
    """The grammar's text, so that the run can go on though the file has changed."""
    target: str
    """Device that latency is predicted for."""
    budget_ms: float | None
    """Largest latency allowed at the upper end of its range, in milliseconds."""
    runtime: str | None = None
    """What launches the kernels there; none: the default of the target."""
    coverage: float = 0.9
    """Share of measured latencies that ranges are to hold."""
    calibration: Mapping[str, Any] | None = None
    """What networks measured there say of its prices: a `hwprofile.calibration.Calibration` as an
    object; none: the prices as they are."""
    batch: int = 1
    """Images in one forward pass, as far as latency and memory go; at least 1."""
    resolution: int = 224
    """Height and width of the input, in pixels; at least 1."""
    channels: int = 3
    """Channels of the input; at least 1."""
    precision: str = "fp16"
    """Precision scheme of every block that has none of its own."""
    classes: int = 1000
    """Size of the output; at least 2."""
    max_params: int | None = 100_000_000
    """Largest number of parameters allowed."""
    max_macs: int | None = None
    """Largest number of multiply-adds allowed, for one image."""
    max_memory: int | None = None
    """Largest peak activation memory allowed, for the batch, in bytes."""
    max_weights: int | None = None
    """Largest sum of all weights allowed as their precision schemes store them, in bytes."""
    max_effectiveness: float = 0.5
    """DeepMAD's bound on depth over width; the paper's value for mobile networks."""
    quantize: bool = False
    """Whether every block may take the target's integer scheme."""
    primitives: tuple[str, ...] = ()
    """Primitives of the space that are not installed: `package.module:NAME`."""
    predictor: str | None = None
    """Quality predictor instead of DeepMAD's score: `package.module:Class` or a plug-in's name."""
    strategy: str = "evolution"
    """Search strategy, by name or `package.module:Class`."""
    start: str = "fastest"
    """What a strategy begins with: the `fastest` architecture, or the designs of the `solver`."""
    solver: str = "auto"
    """Which solver designs, where one does: `auto`, `dp`, `milp` or `relax`."""
    gap: float = 0.01
    """Gap between a design's score and what bounds it, at which the solver stops."""
    solve_seconds: float = 60.0
    """Time that the solver has, in seconds."""
    designs: int = 1
    """Designs that differ, which the solver ranks with a proof of each; at least 1."""
    front: int = 0
    """Points of the solver's front of score against a bounded quantity; 0: no front."""
    front_over: str | None = None
    """That quantity: `high_ms`, `macs`, `params` or `weight_bytes`; none: the first of them that is
    bounded."""
    data: str | None = None
    """Data set that a supernet is trained on; none: training-free."""
    workers: int = 0
    """Ray actors that judge candidates; 0: in the process itself."""
    ray_address: str | None = None
    """Ray cluster to join; none: a private one, if there are workers."""
    seed: int = 0
    """Decides every random choice."""
    evaluations: int = 2000
    """Candidates to evaluate."""
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Domains narrowed for this run: smallest and largest value, by the domain's name."""

    def to_json(self) -> dict[str, Any]:
        """The JSON form, with format and version."""
        record = asdict(self)
        record["primitives"] = list(self.primitives)
        record["limits"] = {name: list(ends) for name, ends in self.limits.items()}
        return {"format": FORMAT, "version": VERSION, **record}

    @classmethod
    def from_json(cls, record: object) -> Config:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: another format or version, a key that is missing or unknown, a wrong type.
        """
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ConfigError(f"the file is no configuration: 'format' must be '{FORMAT}'")
        if record.get("version") != VERSION:
            found = record.get("version")
            raise ConfigError(
                f"the configuration has version {found}; this release reads {VERSION}"
            )
        given = {key: value for key, value in record.items() if key not in ("format", "version")}
        known = {f.name: f for f in fields(cls)}
        for key in given:
            if key not in known:
                raise ConfigError(f"unknown key '{key}' in the configuration")
        for name, entry in known.items():
            required = entry.default is MISSING and entry.default_factory is MISSING
            if required and name not in given:
                raise ConfigError(f"the configuration lacks '{name}'")
        types = get_type_hints(cls)
        for name, value in given.items():
            if name not in _LISTS and not _fits(value, types[name]):
                raise ConfigError(f"'{name}' must be {known[name].type}; got {value!r}")
        lists = {name: read(given[name]) for name, read in _LISTS.items() if name in given}
        return cls(**{**given, **lists})


def _fits(value: object, wanted: Any) -> bool:
    """Whether a JSON value is of a type, or of one of a union's; an integer is a float too."""
    allowed = get_args(wanted) or (wanted,)
    return type(value) in allowed or (type(value) is int and float in allowed)


def _limits(record: object) -> dict[str, tuple[int, int]]:
    if not isinstance(record, dict):
        raise ConfigError(f"'limits' must be an object of [smallest, largest]; got {record!r}")
    for name, ends in record.items():
        whole = isinstance(ends, list) and all(type(end) is int for end in ends)
        if not whole or len(ends) != 2:
            raise ConfigError(f"the limit '{name}' must be [smallest, largest]; got {ends!r}")
    return {name: (low, high) for name, (low, high) in record.items()}


def _places(record: object) -> tuple[str, ...]:
    if not isinstance(record, list) or not all(isinstance(place, str) for place in record):
        raise ConfigError(f"'primitives' must be a list of package.module:NAME; got {record!r}")
    return tuple(record)


def _calibration(record: object) -> dict[str, Any] | None:
    if record is None:
        return None
    numbers = [*record.values()] if isinstance(record, dict) else []
    parts = [value for value in numbers if not isinstance(value, dict)]
    factors = record.get("factors") if isinstance(record, dict) else None
    if not isinstance(factors, dict) or not all(
        type(value) in (int, float) for value in (*factors.values(), *parts)
    ):
        raise ConfigError(f"'calibration' must be an object of factors and numbers; got {record!r}")
    return dict(record)  # type: ignore[call-overload, no-any-return]


_LISTS: Mapping[str, Callable[[object], Any]] = {
    "limits": _limits,
    "primitives": _places,
    "calibration": _calibration,
}
"""What reads the fields that are no plain values."""
