# This package belongs to the project nas.
"""What a network is: a grammar, the trees that derive from it, and the modules they become.

Text is read once into a `Grammar`; `sample` and `vary` draw trees from it, all valid by
construction; `build` turns a tree into a `torch.nn.Module`.
"""
