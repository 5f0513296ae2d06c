"""What a device is: its published figures, as data (`devices.toml`), each with its source."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hwprofile.kernel import SCHEMES

_HERE = Path(__file__).parent


class UnknownTargetError(ValueError):
    """No device goes by the name given."""


class DeviceFileError(ValueError):
    """A device's figures are incomplete, misspelt or out of range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Published figures of one device. Rates are dense, without sparsity."""

    name: str
    """The name it is asked for by."""
    title: str
    """Maker's name of the board, with its form: SXM or PCIe."""
    capability: str
    """CUDA compute capability, such as `8.0`."""
    sms: int
    """Streaming multiprocessors."""
    boost_mhz: float
    """Boost clock in MHz, at which the peak rates hold."""
    dram_gbps: float
    """DRAM bandwidth in GB/s (10^9 bytes)."""
    dram_gib: float
    """DRAM size in GiB, as the maker names it."""
    l2_mib: float
    """L2 cache in MiB."""
    shared_kib_per_sm: float
    """Shared memory of one SM in KiB, at its largest carve-out."""
    peak_tflops: Mapping[str, float]
    """Peak rate in TFLOPS (TOPS for `int8`) by number format; `fp32` is without TF32."""
    schemes: tuple[str, ...]
    """Precision schemes that the device speeds up."""
    source: str
    """Document that the figures are from."""
    url: str = ""
    """Where that document is."""
    tdp_w: float | None = None
    """Most power that the board draws for long, in watts; None where it is not known."""
    idle_w: float | None = None
    """Power while nothing runs, in watts; None where no source says it."""


# key in the file: (smallest, largest, unit). The bounds catch a wrong unit, not an odd device.
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "sms": (1, 1024, "a count"),
    "boost_mhz": (100, 10_000, "MHz"),
    "dram_gbps": (5, 50_000, "GB/s"),
    "dram_gib": (0.25, 4096, "GiB"),
    "l2_mib": (0.1, 1024, "MiB"),
    "shared_kib_per_sm": (8, 2048, "KiB"),
}
_POWERS: dict[str, tuple[float, float, str]] = {
    "tdp_w": (0.5, 5000, "watts"),
    "idle_w": (0.01, 1000, "watts"),
}
"""Bounds of the keys that may be left out."""
_TEXTS = ("title", "capability", "source")
_FORMATS = ("fp16", "bf16", "int8", "tf32", "fp32")
_NEEDED_FORMATS = ("fp16", "bf16", "int8", "fp32")


def device_names() -> tuple[str, ...]:
    """Names of the devices that ship, in the order of the file."""
    return tuple(_shipped())


def load_device(name: str) -> Device:
    """The device called `name`, or the one in a TOML file of the user.

    Args:
        name: a name of `device_names()`, or a path ending in `.toml` to a file with the keys of one
            table of `devices.toml` at its top level.

    Returns:
        The device; one read from a file is called after the file.

    Raises:
        UnknownTargetError: no such name, or no such file.
        DeviceFileError: a key is missing, unknown or out of range.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UnknownTargetError(f"a device file must exist; there is none at {name!r}")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise DeviceFileError(f"a device file must be TOML; {name}: {error}") from error
        return _parse(path.stem, table, where=name)
    shipped = _shipped()
    if name not in shipped:
        close = difflib.get_close_matches(name.lower(), shipped, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownTargetError(
            f"a target must be one of {', '.join(shipped)} or a path to a .toml file; "
            f"got {name!r}.{hint}"
        )
    return _parse(name, shipped[name], where="devices.toml")


@cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads((_HERE / "devices.toml").read_text(encoding="utf-8"))


def _parse(name: str, table: Mapping[str, Any], where: str) -> Device:
    optional = {*_POWERS, "url"}
    known = {*_BOUNDS, *_TEXTS, "peak", "schemes", *optional}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DeviceFileError(
                f"{where}: a device has the keys {', '.join(sorted(known))}; got {key!r}{hint} "
                "(units are part of a key: MHz, GB/s, GiB, MiB, KiB, W, TFLOPS)"
            )
    missing = [key for key in sorted(known - optional) if key not in table]
    if missing:
        raise DeviceFileError(f"{where}: a device needs {', '.join(missing)}: add them")
    for key, (low, high, unit) in _BOUNDS.items():
        _check(where, key, table[key], low, high, unit)
    for key in _POWERS.keys() & table.keys():
        _check(where, key, table[key], *_POWERS[key])
    if table.get("idle_w", 0.0) >= table.get("tdp_w", float("inf")):
        raise DeviceFileError(
            f"{where}: idle_w must be below tdp_w; got {table['idle_w']!r} and {table['tdp_w']!r}"
        )
    peak = table["peak"]
    if not isinstance(peak, dict) or set(peak) - set(_FORMATS) or set(_NEEDED_FORMATS) - set(peak):
        raise DeviceFileError(
            f"{where}: peak must be a table with {', '.join(_NEEDED_FORMATS)} and perhaps tf32; "
            f"got {peak!r}"
        )
    for key, value in peak.items():
        _check(where, f"peak.{key}", value, 0.01, 100_000, "TFLOPS")
    unknown = [scheme for scheme in table["schemes"] if scheme not in SCHEMES]
    if unknown:
        raise DeviceFileError(f"{where}: schemes are {', '.join(SCHEMES)}; got {unknown}")
    return Device(
        name=name,
        peak_tflops={key: float(value) for key, value in peak.items()},
        schemes=tuple(table["schemes"]),
        url=str(table.get("url", "")),
        title=str(table["title"]),
        capability=str(table["capability"]),
        source=str(table["source"]),
        sms=int(table["sms"]),
        **{key: float(table[key]) for key in (*_BOUNDS, *_POWERS) if key in table and key != "sms"},
    )


def _check(where: str, key: str, value: object, low: float, high: float, unit: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise DeviceFileError(
            f"{where}: {key} must be {unit} between {low:g} and {high:g}; got {value!r}: "
            "check the unit"
        )
    if key == "sms" and not isinstance(value, int):
        raise DeviceFileError(f"{where}: sms must be a whole number; got {value!r}")
