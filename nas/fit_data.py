"""Makes a configuration follow its data: input, classes, and limits that can be trained here."""

from __future__ import annotations

from dataclasses import replace

from nas.config import Config
from nas.data import load_data
from nas.supernet.limits import default_limits
from nas.usage import UsageError
from searchspace.read import read_grammar


def fit_to_data(config: Config, *, resolution: int | None, classes: int | None) -> Config:
    """The configuration with resolution, channels, classes and limits taken from its data.

    Limits that the user gave stay; others narrow the space to what a supernet can be trained for
    in minutes on a small machine.

    Args:
        resolution: what the user asked for; must be the data's, if anything.
        classes: likewise.

    Raises:
        DataError: there is no such data, or it cannot be used.
        UsageError: the user asked for another resolution or number of classes than the data's.
    """
    assert config.data is not None
    data = load_data(config.data)
    channels, height, width = data.spec.shape
    if height != width:
        raise UsageError(f"images must be square; those of {config.data} are {height} x {width}")
    if resolution not in (None, height):
        raise UsageError(f"images of {config.data} have {height} pixels; drop --resolution")
    if classes is not None and classes < data.classes:
        raise UsageError(f"{config.data} has {data.classes} classes; --classes must not be less")
    grammar = read_grammar(
        config.space_text,
        source=config.space,
        spec=data.spec,
        classes=classes or data.classes,
        limits=config.limits,
    )
    limits = {**default_limits(grammar, data.spec), **config.limits}
    return replace(
        config,
        resolution=height,
        channels=channels,
        classes=classes or data.classes,
        limits=limits,
    )
