"""ResNet-18, a ViT and an MLP-Mixer as trees of the space einspace."""

from __future__ import annotations

from searchspace.grammar import Alternative, Drawn, Grammar, Literal, Scalar, Variable
from searchspace.tree import Node, Value, primitive


class Modules:
    """Writes modules of einspace as trees.

    What stands for a layer, a fork or windows is a primitive; `within` makes a module of it.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar

    def expand(self, rule: str, *children: Node) -> Node:
        """The expansion of a rule that holds these children, one for each item."""
        for index, alternative in enumerate(self._grammar.rules[rule].alternatives):
            drawn = _drawn(alternative, children)
            if drawn is not None:
                return Node(rule, index, drawn, tuple((child,) for child in children))
        held = " ".join(child.symbol for child in children)
        raise ValueError(f"'{rule}' must have an alternative of {held}")

    def network(self, *modules: Node) -> Node:
        """Modules in a row, the mean over positions and the classifier."""
        classifier = primitive("classifier", self._grammar.classes)
        head = self.expand("head", primitive("mean_pool"), classifier)
        backbone = self.expand("backbone", *self.row(*modules).flat())
        return self.expand("network", backbone, head)

    def layer(self, name: str, *values: Value) -> Node:
        """One layer of computation."""
        return self.expand("module", primitive(name, *values))

    def row(self, *modules: Node) -> Node:
        """Modules one after the other, as a balanced tree."""
        if len(modules) == 1:
            return modules[0]
        half = len(modules) // 2
        return self.expand("module", self.row(*modules[:half]), self.row(*modules[half:]))

    def fork(self, split: str, join: str, first: Node, second: Node) -> Node:
        """Two bodies."""
        return self.expand("module", primitive("fork", split, join, children=((first,), (second,))))

    def copies(self, copies: int, split: str, join: str, body: Node) -> Node:
        """Copies of one body."""
        return self.expand(
            "module", primitive("fork_copies", copies, split, join, children=((body,),))
        )

    def route(self, before: Node, module: Node, after: Node) -> Node:
        """A module between two primitives of routing."""
        return self.expand(
            "module", self.expand("before", before), module, self.expand("after", after)
        )

    def windows(self, kernel: int, stride: int, body: Node) -> Node:
        """A module on windows."""
        made = primitive("windows", kernel, stride, children=((body,),))
        return self.expand("module", made)

    def conv(self, out: int, kernel: int, stride: int) -> Node:
        """A convolution with bias."""
        return self.windows(kernel, stride, self.layer("last_linear", out))

    def residual(self, *body: Node) -> Node:
        """The input added to what modules make of it."""
        return self.fork("clone", "add", self.row(*body), self.layer("identity"))

    def transposed(self, *body: Node) -> Node:
        """Modules along the tokens instead of the features."""
        turn = primitive("permute", "dn")
        return self.route(turn, self.row(*body), turn)

    def attention(self, width: int) -> Node:
        """One head: softmax(Q K^T / sqrt(width)) V."""
        keys = self.route(
            primitive("identity"), self.layer("last_linear", width), primitive("permute", "dn")
        )
        scores = self.fork("clone", "scaled_dot", self.layer("last_linear", width), keys)
        weights = self.row(scores, self.layer("last_softmax"))
        return self.fork("clone", "dot", weights, self.layer("last_linear", width))

    def mlp(self, hidden: int, out: int) -> tuple[Node, ...]:
        """Two linear layers and what is between them."""
        activation = self.layer("activation", "leaky_relu")
        return self.layer("last_linear", hidden), activation, self.layer("last_linear", out)


def _drawn(alternative: Alternative, children: tuple[Node, ...]) -> tuple[Value, ...] | None:
    """What the alternative's variables must be so that its items are the children; None: never."""
    if [item.symbol for item in alternative.items] != [child.symbol for child in children]:
        return None
    drawn: dict[int, Value] = {}
    for item, child in zip(alternative.items, children, strict=True):
        for scalar, value in zip(item.scalars, child.values, strict=False):
            if isinstance(scalar, Variable):
                drawn[scalar.index] = value
            elif value not in _values(scalar):
                return None
    if not all(drawn[i] in domain.values for i, (_, domain) in enumerate(alternative.draws)):
        return None
    return tuple(drawn[i] for i in range(len(alternative.draws)))


def _values(scalar: Scalar) -> tuple[Value, ...]:
    if isinstance(scalar, Drawn):
        return scalar.domain.values
    return (scalar.value,) if isinstance(scalar, Literal) else ()


def resnet18(grammar: Grammar) -> Node:
    """ResNet-18 for images of 32 pixels, with biases and leaky ReLU (arXiv 1512.03385)."""
    m = Modules(grammar)
    norm, act = m.layer("mode_norm"), m.layer("activation", "leaky_relu")

    def block(width: int, stride: int) -> tuple[Node, Node]:
        body = m.row(m.conv(width, 3, stride), norm, act, m.conv(width, 3, 1), norm)
        first = stride == 2
        short = m.row(m.conv(width, 1, 2), norm) if first else m.layer("identity")
        return m.fork("clone", "add", body, short), act

    widths = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
    layers = [layer for width, stride in widths for layer in block(width, stride)]
    return m.network(m.conv(64, 3, 1), norm, act, *layers)


def vit(grammar: Grammar, depth: int = 4) -> Node:
    """A ViT of width 256 with 4 heads and patches of 4 pixels (arXiv 2010.11929)."""
    m = Modules(grammar)
    norm = m.layer("mode_norm")
    heads = m.copies(4, "clone", "concat2", m.attention(64))
    attention = m.residual(norm, heads, m.layer("last_linear", 256))
    block = m.row(attention, m.residual(norm, *m.mlp(1024, 256)))
    body = m.row(m.layer("last_linear", 256), m.layer("learned_position"), *[block] * depth, norm)
    return m.network(m.route(primitive("unfold", 4, 4), body, primitive("identity")))


def mixer(grammar: Grammar, depth: int = 8) -> Node:
    """An MLP-Mixer of width 512 on 64 patches of 4 pixels (arXiv 2105.01601)."""
    m = Modules(grammar)
    norm = m.layer("mode_norm")
    tokens = m.residual(norm, m.transposed(*m.mlp(256, 64)))
    block = m.row(tokens, m.residual(norm, *m.mlp(2048, 512)))
    body = m.row(m.layer("last_linear", 512), *[block] * depth, norm)
    return m.network(m.route(primitive("unfold", 4, 4), body, primitive("identity")))
