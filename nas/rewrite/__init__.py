"""Networks with the layers that this project has kernels for replaced by its operators.

`products` and `layers` are the replacements, modules of one operator each; `patterns` says which
module becomes which, and why another does not; `flow` reads from a trace what alone reads what;
`plan` puts both together; `residual` has sums done by the product before them; `check` compares
each replacement, and the whole, with the original; `report` tells of it; `optimize` is the way in.
"""
