"""Networks that a profile measures whole: they run, trace, and differ in what rules them."""

import pytest
import torch

from hwprofile.kernel import is_unknown
from hwprofile.profiled_networks import profiled_networks
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.trace import trace
from hwprofile.usual_networks import SIDE, usual_networks

EAGER = RUNTIMES["cpu-eager"]


@pytest.mark.parametrize("name", profiled_networks())
def test_a_network_runs_soon_and_all_that_it_launches_is_known(name):
    network, shape = profiled_networks()[name]()
    with torch.inference_mode():
        assert network(torch.zeros(shape)).isfinite().all()
    record = trace(network, shape, layout=EAGER.layout)
    assert not any(is_unknown(kernel) for kernel in launches(record, EAGER, "fp32"))
    assert record.macs < (4e9 if name in usual_networks() else 0.8e9)


def test_a_network_is_drawn_alike_every_time():
    first, again = profiled_networks()["nasbench201 8"](), profiled_networks()["nasbench201 8"]()
    assert (str(first[0]), first[1]) == (str(again[0]), again[1])


def test_networks_differ_in_what_takes_their_work():
    shares = {}
    for name, make in usual_networks().items():
        with torch.device("meta"):
            network = make().eval()
        record = trace(network, (1, 3, SIDE, SIDE), layout=EAGER.layout)
        kernels = launches(record, EAGER, "fp32")
        total = sum(kernel.flops for kernel in kernels)
        shares[name] = {
            op: sum(k.flops for k in kernels if k.op == op) / total for op in ("gemm", "conv2d")
        }
    assert shares["attention"]["gemm"] > 0.8
    assert shares["plain"]["conv2d"] > 0.9
    assert shares["inverted"]["gemm"] > shares["basic"]["gemm"]
