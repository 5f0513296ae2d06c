"""Finds the target that a user names: a device, a file, or one of a package's own."""

from __future__ import annotations

from hwprofile.spread import check_coverage
from hwprofile.target import Target
from hwprofile.targets import get_target, is_target
from nas.plugins import PluginError, find, known


def find_target(name: str, *, runtime: str | None = None, coverage: float = 0.9) -> Target:
    """The target called `name`.

    Args:
        name: what `hwprofile.targets.get_target` knows, an entry point of the group `nas.targets`,
            or `package.module:name`. There must be a subclass of `Target` that is made with
            `runtime` and `coverage`, or a function that measures a module
            (`hwprofile.script_target`).
        runtime: what launches the kernels; None for the target's default.
        coverage: share of measurements that ranges are to hold.

    Raises:
        PluginError: what is there is neither, or cannot be made.
        UnknownTargetError, DeviceFileError, UnknownRuntimeError, CoverageError: as `get_target`.
    """
    check_coverage(coverage)
    if is_target(name) or (":" not in name and name not in known("target", {})):
        return get_target(name, runtime=runtime, coverage=coverage)
    made = find("target", name, {})
    if isinstance(made, type) and issubclass(made, Target):
        return _made(name, made, runtime, coverage)
    if callable(made) and not isinstance(made, type):
        from hwprofile.script_target import ScriptTarget  # heavy: torch

        return ScriptTarget(name, made, runtime=runtime, coverage=coverage)
    raise PluginError(
        f"'{name}' must be a subclass of hwprofile.target.Target, or a function that takes a "
        f"module and its inputs and returns milliseconds; it is {made!r}"
    )


def _made(name: str, made: type[Target], runtime: str | None, coverage: float) -> Target:
    try:
        target: Target = made(runtime=runtime, coverage=coverage)  # type: ignore[call-arg]
        missing = [part for part in ("name", "runtime", "schemes") if not hasattr(target, part)]
    except Exception as fault:
        raise PluginError(
            f"the target '{name}' must be made by runtime= and coverage=; it raised "
            f"{type(fault).__name__}: {fault}"
        ) from fault
    if missing:
        raise PluginError(f"the target '{name}' must set the attributes {', '.join(missing)}")
    return target
