"""Shared weights for all networks of a space: one training, then any network can be judged.

`bank` holds the weights and cuts networks from them; `places` says which weights are shared, and
`sizes` how large they can be asked for; `limits` narrows a space to what can be trained here;
`train` trains by the sandwich rule; `judge` tells what a network achieves with inherited weights.
"""

from nas.supernet.bank import BankError, Candidate, WeightBank
from nas.supernet.judge import inherited_accuracy
from nas.supernet.limits import default_limits
from nas.supernet.train import Progress, Schedule, train_supernet

__all__ = [
    "BankError",
    "Candidate",
    "Progress",
    "Schedule",
    "WeightBank",
    "default_limits",
    "inherited_accuracy",
    "train_supernet",
]
