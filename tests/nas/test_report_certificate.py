"""What is said of a proof."""

import pytest

from nas.report.certificate import certificate_lines

RECORD = {
    "solver": "dp",
    "seconds": 12.0,
    "score": 36161.0,
    "bound": 36500.0,
    "gap": 0.0094,
    "optimal": True,
    "values": 16,
    "modes": 24,
    "left_out": [],
}


def said(name, limit, used, price):
    use = {"name": name, "unit": "", "limit": limit, "used": used, "price": price}
    return list(certificate_lines({**RECORD, "uses": [use]}))[-1]


@pytest.mark.parametrize(
    ("name", "limit", "used", "price", "words"),
    [
        ("high_ms", 5.0, 4.98, 1234.0, "latency: 4.98 ms of 5 ms; 1 ms more is worth about 1,234"),
        ("high_ms", 0.2, 0.1, 5e4, "latency: 0.1 ms of 0.2 ms; 10 us more is worth about 500"),
        ("params", 11.7e6, 11.6e6, 2e-4, "11.6M of 11.7M; 1M parameters more is worth about 200"),
        ("macs", 1.82e9, 1.8e9, 1e-6, "1.8G of 1.82G; 100M multiply-adds more is worth about 100"),
        ("peak_bytes", 20 * 2**20, 19 * 2**20, 1e-4, "19MiB of 20MiB; 4MiB peak memory more is"),
        ("weight_bytes", 9000, 4096, 0.1, "weights: 4KiB of 8.79KiB; 2KiB weights more is worth"),
        ("effectiveness", 0.3, 0.299, 5e4, "0.299 of 0.3; 0.01 more is worth about 500 points"),
    ],
)
def test_prices_are_told_for_a_step_that_is_small_beside_the_limit(name, limit, used, price, words):
    assert words in said(name, limit, used, price)


def test_what_does_not_bind_is_worth_nothing_and_what_is_not_known_is_not_told():
    assert said("params", 1e6, 5e5, 0.0).endswith("more of it is worth nothing")
    assert said("params", 1e6, 5e5, None) == "parameters: 500K of 1M"
