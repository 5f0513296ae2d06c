"""What tells candidates apart."""

from nas.identity import identity_for
from searchspace.architecture import Architecture
from searchspace.shapes import image
from searchspace.text import from_text


def test_candidates_are_told_apart_by_what_they_compute():
    identity = identity_for(image(8, 6, 6))

    def of(text: str) -> str:
        return identity(Architecture(space="s", root=from_text(f"net:0[{text}]")))

    assert of("residual[identity eca]") == of("branch(add)[eca; identity]") != of("eca")


def test_what_cannot_be_built_is_only_equal_to_itself():
    identity = identity_for(image(4, 6, 6))
    one, other = (
        Architecture(space="s", root=from_text(f"net:0[shift {name}]")) for name in ("eca", "bias")
    )
    assert identity(one) == one.key != identity(other)
