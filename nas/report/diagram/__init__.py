"""Pictures of an architecture's data flow: an SVG, and a tree for the terminal.

`layered` places boxes in layers; `cells` nests what a graph's groups hold and places it, group by
group; `columns` breaks what is long into columns; `wires` leads the edges; `svg` draws it all, in
the colours of `palette` and `style`; `outline` is the same for the terminal.
"""
