"""The table of primitives: what other packages add, and what they cannot break."""

import sys
from random import Random

import pytest

from searchspace.build import build
from searchspace.primitives import PRIMITIVES
from searchspace.primitives.table import PrimitiveError, PrimitiveTable
from searchspace.read import read_grammar
from searchspace.sample import sample

_SHIPPED = tuple(PRIMITIVES.values())
_MODULE = """
from torch import nn
from searchspace.primitives.base import Primitive

class Half(nn.Module):
    def forward(self, x):
        return x / 2

def of(name):
    return Primitive(name=name, summary="", module=Half, arguments=lambda spec, values: {})

"""
_SPACE = """space s : image[3, 8, 8] -> classes[2]
net -> half mean_pool classifier(classes)
"""


@pytest.fixture
def install(folder_of_modules):
    """Writes a module, and the entry points of a package; returns a table that has not looked."""

    def write(package, code, **points):
        (folder_of_modules / f"{package}_layers.py").write_text(_MODULE + code)
        info = folder_of_modules / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}_layers{place}" for name, place in points.items()]
        (info / "entry_points.txt").write_text("[nas.primitives]\n" + "\n".join(lines) + "\n")
        return PrimitiveTable(_SHIPPED)

    return write


def test_an_entry_point_leads_to_one_several_or_a_module(install):
    code = "ONE = of('half')\nMORE = [of('third'), of('fourth')]\nPRIMITIVES = (of('fifth'),)\n"
    table = install("acme", code, half=":ONE", third=":MORE", fourth=":MORE", fifth="")
    for name in ("half", "third", "fourth", "fifth"):
        assert table[name].name == name
        assert table[name] is table[name]
    with pytest.raises(KeyError):
        table["sixth"]


def test_a_grammar_uses_what_is_installed(install):
    install("acme", "ONE = of('half')\n", half=":ONE")
    grammar = read_grammar(_SPACE)
    network = build(sample(grammar, Random(0)).root, grammar.input)
    assert type(network[0]).__name__ == "Half"


def test_nothing_is_imported_before_its_name_is_used(install):
    table = install("acme", "ONE = of('half')\n", half=":ONE")
    assert table["conv"] is PRIMITIVES["conv"]
    assert set(table) == set(PRIMITIVES)
    assert len(table) == len(PRIMITIVES)
    assert "half" not in table  # so that a rule may be called so
    assert table.get("third") is None
    assert "acme_layers" not in sys.modules


def test_a_rule_may_be_called_like_an_installed_primitive(install):
    table = install("acme", "raise RuntimeError('not asked for')\n", half=":ONE")
    text = _SPACE + "half -> conv(4, 3, 1)\n"
    for _ in range(2):
        grammar = read_grammar(text, primitives=table)
        assert grammar.rules["half"].alternatives[0].items[0].symbol == "conv"


@pytest.mark.parametrize(
    ("code", "place", "said"),
    [
        ("raise RuntimeError('no licence')\n", ":ONE", "failed with RuntimeError: no licence"),
        ("import no_such_module\n", ":ONE", "failed with ModuleNotFoundError: No module named"),
        ("", ":ONE", "failed with AttributeError: "),
        ("ONE = of('third')\n", ":ONE", "must have a primitive 'half', as the entry is called; it"),
        ("ONE = 5\n", ":ONE", "must be a Primitive, a sequence of some, or a module with PRIM"),
        ("ONE = [Half]\n", ":ONE", "must hold nothing but primitives; got type"),
        ("ONE = []\n", ":ONE", "must be a Primitive, a sequence of some"),
        ("", "", "must be a Primitive, a sequence of some, or a module with PRIMITIVES; got mod"),
        ("ONE = of('a b')\n", ":ONE", "must be of letters, digits and _; .* has 'a b'"),
    ],
)
def test_what_is_broken_is_told_when_it_is_used_and_harms_nothing_else(install, code, place, said):
    table = install("acme", code, half=place)
    read_grammar(_SPACE.replace("half", "identity"), primitives=table)
    for _ in range(2):
        with pytest.raises(PrimitiveError, match=said) as caught:
            read_grammar(_SPACE, primitives=table)
        assert "package acme" in str(caught.value)


def test_a_name_that_ships_is_refused_when_it_is_used(install):
    table = install("acme", "raise RuntimeError\n", conv=":ONE", half=":ONE")
    read_grammar(_SPACE.replace("half", "identity"), primitives=table)
    said = "'conv' names a primitive that ships and one of the package acme"
    with pytest.raises(PrimitiveError, match=said):
        read_grammar(_SPACE.replace("half", "conv(4, 3, 1)"), primitives=table)


def test_two_packages_with_one_name_are_both_named(install):
    install("acme", "ONE = of('half')\n", half=":ONE")
    table = install("brick", "ONE = of('half')\n", half=":ONE")
    with pytest.raises(
        PrimitiveError, match="packages acme and brick both have a primitive 'half'"
    ):
        table["half"]


def test_primitives_are_given_by_hand(install):
    table = install("acme", "ONE = of('half')\nPRIMITIVES = [ONE, of('third')]\n")
    import acme_layers

    table.add(acme_layers.ONE, "acme_layers:ONE")
    table.add(acme_layers, "acme_layers")
    assert table["half"] is acme_layers.ONE
    assert {"half", "third"} == set(table) - set(PRIMITIVES)
    read_grammar(_SPACE, primitives=table)
    for given, said in (
        (acme_layers.of("conv"), "'conv' names a primitive that ships and one of here"),
        (acme_layers.of("half"), "here has another primitive 'half' than the one given before"),
        ([acme_layers.of("fifth"), acme_layers.of("conv")], "'conv' names"),
        ([acme_layers.of("fifth"), 3], "must hold nothing but primitives; got int"),
    ):
        with pytest.raises(PrimitiveError, match=said):
            table.add(given, "here")
    assert "fifth" not in table


def test_what_is_given_stands_before_what_is_installed(install):
    table = install("acme", "raise RuntimeError\n", half=":ONE")
    install("brick", "ONE = of('half')\n")
    import brick_layers

    table.add(brick_layers.ONE)
    assert table["half"] is brick_layers.ONE
