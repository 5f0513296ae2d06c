"""The style sheet of a picture: every class in light and in dark surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.report.diagram.palette import HUES, Hue

_LIGHT = {
    "paper": "#ffffff",
    "frame": "#f7f8fa",
    "header": "#e9ecf1",
    "border": "#c6ccd6",
    "text": "#1b1f27",
    "pale": "#5b6472",
    "wire": "#6c7684",
    "skip": "#2f7d6b",
}
_DARK = {
    "paper": "#12151b",
    "frame": "#191d25",
    "header": "#262c37",
    "border": "#424b5a",
    "text": "#e8ebf0",
    "pale": "#a1abba",
    "wire": "#8a95a5",
    "skip": "#6fcfb8",
}


def style_sheet(hues: Sequence[Hue]) -> str:
    """Classes for both surroundings; viewers that know no media query show the light one."""

    def rules(colours: Mapping[str, str], dark: bool) -> str:
        own = [
            f".paper{{fill:{colours['paper']}}}",
            f".frame{{fill:{colours['frame']};stroke:{colours['border']}}}",
            f".header{{fill:{colours['header']};stroke:{colours['border']}}}",
            f".plain{{fill:{colours['paper']};stroke:{colours['wire']}}}",
            f"text{{fill:{colours['text']}}}",
            f".pale{{fill:{colours['pale']}}}",
            f".wire{{stroke:{colours['wire']}}}",
            f".skip{{stroke:{colours['skip']}}}",
            f".tip,.dot{{fill:{colours['wire']}}}",
            f".skiptip{{fill:{colours['skip']}}}",
        ]
        for hue in hues:
            edge, fill = (hue.dark_edge, hue.dark_fill) if dark else (hue.edge, hue.fill)
            own.append(f".h{HUES.index(hue)}{{fill:{fill};stroke:{edge}}}")
            own.append(f".s{HUES.index(hue)}{{fill:{edge}}}")
        return "".join(own)

    return (
        "<style>.wire,.skip{fill:none;stroke-width:1.4}.skip{stroke-width:1.8}"
        ".name,.title{font-weight:600}"
        f"{rules(_LIGHT, False)}@media (prefers-color-scheme: dark){{{rules(_DARK, True)}}}</style>"
    )
