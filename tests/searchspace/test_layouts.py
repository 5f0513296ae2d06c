"""Layouts against the layers that they are of."""

from searchspace.layouts import LAYOUTS
from searchspace.primitives import PRIMITIVES


def test_every_layout_names_tensors_of_its_layer_axis_by_axis():
    for name, layout in LAYOUTS.items():
        names = [p.name for p in PRIMITIVES[name].parameters]
        assert set(layout.grows) <= set(names), name
        assert all(set(letters) <= set("oichs23kd.") for letters in layout.weights.values()), name
