"""What a device is, and the target that prices kernels on it.

Figures of devices are data (`devices.toml`), each with its source. `get_target` joins a device
with the constants of the estimate (`constants.toml`) and, where rows measured on that device
exist, with a learned correction and ranges whose coverage was measured.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import exp
from pathlib import Path
from typing import Any

from hwprofile.estimate import Estimate
from hwprofile.gemm import GemmConstants
from hwprofile.kernel import SCHEMES, Kernel
from hwprofile.trees import Trees
from hwprofile.wave import StreamConstants, WaveModel

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


# key in the file: (smallest, largest, unit). The bounds catch a wrong unit, not an odd device.
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "sms": (1, 1024, "a count"),
    "boost_mhz": (100, 10_000, "MHz"),
    "dram_gbps": (5, 50_000, "GB/s"),
    "dram_gib": (0.25, 4096, "GiB"),
    "l2_mib": (0.1, 1024, "MiB"),
    "shared_kib_per_sm": (8, 2048, "KiB"),
}
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
    known = {*_BOUNDS, *_TEXTS, "peak", "schemes", "url"}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DeviceFileError(
                f"{where}: a device has the keys {', '.join(sorted(known))}; got {key!r}{hint} "
                "(units are part of a key: MHz, GB/s, GiB, MiB, KiB, TFLOPS)"
            )
    missing = [key for key in sorted(known - {"url"}) if key not in table]
    if missing:
        raise DeviceFileError(f"{where}: a device needs {', '.join(missing)}: add them")
    for key, (low, high, unit) in _BOUNDS.items():
        _check(where, key, table[key], low, high, unit)
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
        **{key: float(table[key]) for key in _BOUNDS if key != "sms"},
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device with all that is needed to price kernels on it.

    Prices are of a CUDA graph and channels-last tensors. They are cached by kernel, so one target
    should live as long as a search. Not meant to be changed or shared between threads.
    """

    device: Device
    """The published figures."""
    model: WaveModel
    """The analytical estimate."""
    corrections: Mapping[str, Trees]
    """Learned log-ratio of measured to analytical time, by key of `Priced`."""
    ranges: Mapping[str, tuple[float, float]]
    """Lower and upper end over the value, by key of `Priced`; `""` holds for the others."""
    notes: tuple[str, ...] = ()
    """What constants and ranges rest on, for people."""
    _prices: dict[Kernel, Estimate] = field(default_factory=dict, repr=False, compare=False)

    def price(self, kernel: Kernel) -> Estimate:
        """Time of one launch, in ms, with its range.

        Raises:
            ValueError: the kernel's scheme is none of `SCHEMES`, or TF32 where the device has none.
        """
        estimate = self._prices.get(kernel)
        if estimate is None:
            estimate = self._prices[kernel] = self._price(kernel)
        return estimate

    def prior(self, kernel: Kernel) -> float:
        """The analytical time alone, in ms: what other devices get."""
        return self.model.price(kernel).time_us * 1e-3

    @property
    def launch_floor_ms(self) -> float:
        """No launch is priced below this, in ms."""
        return self.model.floor_us * 1e-3

    def describe(self) -> str:
        """What the prices rest on, as lines for people."""
        dev = self.device
        rates = ", ".join(f"{key} {value:g}" for key, value in dev.peak_tflops.items())
        lines = [
            f"{dev.name}: {dev.title}, compute capability {dev.capability}",
            f"  {dev.sms} SMs at {dev.boost_mhz:g} MHz; peak TFLOPS, dense: {rates}",
            f"  DRAM {dev.dram_gib:g} GiB at {dev.dram_gbps:g} GB/s; L2 {dev.l2_mib:g} MiB; "
            f"shared memory {dev.shared_kib_per_sm:g} KiB per SM",
            f"  speeds up: {', '.join(dev.schemes)}",
            f"  figures: {dev.source}" + (f" <{dev.url}>" if dev.url else ""),
            f"  launch floor {self.launch_floor_ms * 1e3:.2f} us (CUDA graph)",
        ]
        lines += [f"  {note}" for note in self.notes]
        lines.append("  range of a price, as shares of it:")
        for key, (low, high) in sorted(self.ranges.items()):
            lines.append(f"    {key or 'all others'}: {low:.2f} to {high:.2f}")
        return "\n".join(lines)

    def _price(self, kernel: Kernel) -> Estimate:
        if kernel.scheme not in SCHEMES:
            raise ValueError(f"a scheme must be one of {', '.join(SCHEMES)}; got {kernel.scheme!r}")
        priced = self.model.price(kernel)
        time = priced.time_us
        if priced.features:
            scheme = "bf16" if kernel.scheme == "fp16" else kernel.scheme
            trees = self.corrections.get("gemm." + scheme)
            if trees is not None:
                time = max(time * exp(trees(priced.features)), self.model.floor_us)
        low, high = self.ranges.get(priced.key) or self.ranges[""]
        time *= 1e-3
        return Estimate(value=time, low=time * low, high=time * high)


@cache
def constants() -> dict[str, Any]:
    """The content of `constants.toml` (chosen) joined with `data/fitted.toml` (fitted)."""
    chosen = tomllib.loads((_HERE / "constants.toml").read_text(encoding="utf-8"))
    fitted = tomllib.loads((_HERE / "data" / "fitted.toml").read_text(encoding="utf-8"))
    return {**chosen, **fitted, "stream": {**chosen["stream"], **fitted["stream"]}}


def get_target(name: str) -> Target:
    """The target called `name`: a shipped device or a path to a TOML file of the user.

    Raises:
        UnknownTargetError: no such name, or no such file.
        DeviceFileError: the file's figures cannot be right.
    """
    device = load_device(name)
    table = constants()
    gemm = GemmConstants(**table["gemm"])
    schemes = {scheme: replace(gemm, **own) for scheme, own in table.get("schemes", {}).items()}
    model = WaveModel(device, gemm, StreamConstants(**table["stream"]), schemes)
    measured = table["measured"].get(name, {})
    ranges = dict(table["ranges"]["unmeasured"])
    ranges.update(measured.get("ranges", {}))
    return Target(
        device=device,
        model=model,
        corrections={
            key: Trees.load(_HERE / "data" / file)
            for key, file in measured.get("corrections", {}).items()
        },
        ranges={key: (low, high) for key, (low, high) in ranges.items()},
        notes=tuple(table["ranges"]["measured_notes" if measured else "notes"]),
    )
