# This package belongs to the project nas.
"""What a network would be worth: scores and latencies predicted before anything is trained.

`entropy` is DeepMAD's training-free score of any traced network, `maedet` MAE-DET's, and `zen` the
Zen-score by forward passes. `structure` reads the form in
which DeepMAD's authors publish theirs, `structure_cost` counts it, `deepmad` scores it in closed
form, and `designs` does both for many at once. `latency` sums priced kernels; `base` holds the
protocol that a predictor of one's own fulfils.
"""
