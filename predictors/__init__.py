# This package belongs to the project nas.
"""What a network would be worth: scores and latencies predicted before anything is trained.

`entropy` is DeepMAD's training-free score; `latency` sums priced kernels; `base` holds the
protocol that a predictor of one's own fulfils.
"""
