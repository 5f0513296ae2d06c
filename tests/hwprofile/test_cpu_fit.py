"""Prices fitted on calls whose times follow a known law."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from hwprofile.cpu_fit import Prices
from hwprofile.kernel import Kernel


def product(m, n, k, op="linear"):
    return Kernel(
        op="gemm",
        scheme="fp32",
        m=m,
        n=n,
        k=k,
        flops=2 * m * n * k,
        read_bytes=4 * m * k,
        weight_bytes=4 * n * k,
        write_bytes=4 * m * n,
        ops=(op,),
        shape=(m, k),
    )


def law(kernel):
    """10 us, 50 GFLOP/s and 10 GB/s, in ms; a third slower where columns fill no vector."""
    moved = kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes
    time = 0.01 + kernel.flops / 5e7 + moved / 1e7
    return time * (1.0 if kernel.n % 8 == 0 else 1.33)


def drawn(count, seed, scale=1):
    random = Random(seed)

    def size(low, high):
        return max(1, round(2 ** random.uniform(low, high))) * scale

    kernels = []
    for _ in range(count):
        n = size(3, 9)
        kernels.append(product(size(3, 9), n if random.random() < 0.3 else 8 * n, size(3, 9)))
    return kernels


@pytest.fixture(scope="module")
def prices():
    kernels, noise = drawn(300, 0), np.random.default_rng(0)
    times = [law(kernel) * np.exp(noise.normal(0, 0.03)) for kernel in kernels]
    return Prices.fit([(kernel,) for kernel in kernels], times)


def errors(prices, kernels):
    return np.abs(prices(kernels) / [law(kernel) for kernel in kernels] - 1)


def test_shapes_that_were_not_measured_are_priced(prices):
    assert np.median(errors(prices, drawn(200, 1))) < 0.05


def test_the_form_holds_beyond_the_sizes_measured(prices):
    assert np.median(errors(prices, drawn(100, 2, scale=8))) < 0.25


def test_prices_rise_without_bound_and_are_never_zero(prices):
    times = prices([product(8 * 4**i, 64, 64) for i in range(10)])
    assert (times > 0).all()
    assert times[-1] > 1000 * times[0]


def test_a_function_that_was_not_measured_is_priced_as_its_family(prices):
    kernel = product(64, 64, 64, op="unheard_of")
    assert not prices.knows(kernel)
    assert prices.knows(product(64, 64, 64))
    assert errors(prices, [kernel])[0] < 0.5


def test_a_call_of_several_kernels_tells_of_the_largest():
    copies = [
        Kernel(
            op="copy",
            scheme="fp32",
            m=size,
            read_bytes=4 * size,
            write_bytes=4 * size,
            ops=("copy",),
            shape=(size,),
        )
        for size in (2**i for i in range(8, 22))
    ]
    products = drawn(60, 4)
    calls = [(copy,) for copy in copies] + [(copies[0], kernel) for kernel in products]
    times = [law(copy) for copy in copies] + [law(copies[0]) + law(kernel) for kernel in products]
    fitted = Prices.fit(calls, times)
    assert np.median(errors(fitted, products)) < 0.1


def test_a_call_that_launches_a_kernel_many_times_tells_the_time_of_one():
    kernels = drawn(120, 5)
    several = [(kernel,) * 50 for kernel in kernels[:60]]
    times = [sum(map(law, call)) for call in several]
    prices = Prices.fit(
        [*((kernel,) for kernel in kernels[60:]), *several],
        [*map(law, kernels[60:]), *times],
    )
    assert np.median(errors(prices, kernels)) < 0.05
