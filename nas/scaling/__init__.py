"""Scaling rules as programmes of one parameter.

`rules` states by what a scale multiplies depth, width and resolution; `programme` finds the scale
at which the network, derived anew in its space and traced, comes nearest to what it may cost.
"""
