# This package belongs to the project nas.
"""Operations as Triton kernels, each beside the plain torch version that is its meaning.

Knows no architecture: it imports nothing of this project. `depthwise_conv` picks the version for
the tensor at hand; `aot` compiles a kernel for a GPU that is not here and reads its resources.
"""
