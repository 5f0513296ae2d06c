"""Colours: one for each family of primitives, in light and in dark surroundings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hue:
    """The colours of one family: a border or stripe, and a filling that text stands on."""

    name: str
    """In the legend."""
    edge: str
    fill: str
    dark_edge: str
    dark_fill: str
    terminal: str
    """Style of rich."""


_HUES = {
    "convolution": Hue(
        name="convolution",
        edge="#2563c9",
        fill="#e3edfc",
        dark_edge="#7aa7f0",
        dark_fill="#1c2c47",
        terminal="blue",
    ),
    "dynamic_convolution": Hue(
        name="kernels from the input",
        edge="#0b7f95",
        fill="#dcf3f6",
        dark_edge="#58c3d6",
        dark_fill="#14343a",
        terminal="cyan",
    ),
    "spectral": Hue(
        name="frequencies",
        edge="#4d4fc0",
        fill="#e8e8fb",
        dark_edge="#a3a4f4",
        dark_fill="#27284d",
        terminal="bright_blue",
    ),
    "attention": Hue(
        name="attention",
        edge="#8b3fc0",
        fill="#f3e6fb",
        dark_edge="#c48bf0",
        dark_fill="#36204a",
        terminal="magenta",
    ),
    "token_mixers": Hue(
        name="token mixing",
        edge="#b8327f",
        fill="#fbe5f1",
        dark_edge="#ee86bb",
        dark_fill="#451d35",
        terminal="bright_magenta",
    ),
    "channel": Hue(
        name="channels",
        edge="#b85c10",
        fill="#fcebdc",
        dark_edge="#f0a262",
        dark_fill="#43290f",
        terminal="yellow",
    ),
    "tokens": Hue(
        name="images and tokens",
        edge="#2b8443",
        fill="#e1f4e6",
        dark_edge="#76c98d",
        dark_fill="#183722",
        terminal="green",
    ),
    "norm": Hue(
        name="norm and scale",
        edge="#85752a",
        fill="#f6f1d8",
        dark_edge="#cdbd6c",
        dark_fill="#373115",
        terminal="bright_yellow",
    ),
    "parameter_free": Hue(
        name="without parameters",
        edge="#6b7280",
        fill="#eef0f3",
        dark_edge="#a3acba",
        dark_fill="#2a2f38",
        terminal="white",
    ),
}
_OTHER = Hue(
    name="other",
    edge="#a83232",
    fill="#fbe4e4",
    dark_edge="#ee8d8d",
    dark_fill="#451f1f",
    terminal="red",
)
_ALIKE = {
    "dense_convolution": "convolution",
    "weighted_convolution": "convolution",
    "resolution": "convolution",
    "channel_mixers": "channel",
    "drop_path": "parameter_free",
    "token_reduction": "tokens",
    "two_scales": "tokens",
    "nasnet": "convolution",
}
"""Families that look like another."""
_OWN = {
    "token_mlp": "channel",
    "mixer_mlp": "token_mixers",
    "activation": "parameter_free",
    "ceil_max_pool": "parameter_free",
    "resize": "parameter_free",
    "resize_to": "parameter_free",
    "cross_attention": "attention",
    "unfold": "tokens",
    "last_linear": "channel",
    "mode_norm": "norm",
    "last_softmax": "parameter_free",
    "learned_position": "tokens",
}
"""Primitives that look like another family than that of their file, which holds several kinds."""


def hue_of(primitive: str, family: str) -> Hue:
    """The colours of a primitive; those of its own for families that are not known."""
    family = _OWN.get(primitive, _ALIKE.get(family, family))
    return _HUES.get(family, _OTHER)


HUES = (*_HUES.values(), _OTHER)
"""All hues, in the order of the legend."""
