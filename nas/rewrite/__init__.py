"""Networks with the layers that this project has kernels for replaced by its operators.

`layers` are the replacements; `patterns` says which module becomes which, and why another does not;
`flow` reads from a trace what alone reads what; `plan` puts both together; `check` compares each
replacement, and the whole, with the original; `report` tells of it; `optimize` is the way in.
"""
