# This package belongs to the project nas.
"""Operations as Triton kernels, each beside the plain torch version that is its meaning.

Knows no architecture: it imports nothing of this project. A public function such as
`depthwise_conv.depthwise_conv2d` picks the version for the tensor at hand. `catalogue` names all
operations, `check` holds each against its meaning, and `inspection` compiles its kernels for a GPU
that is not here and reads what they take of it.
"""
