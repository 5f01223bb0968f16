"""Buckets of peers that are held back."""

from pytest import approx

from collectord.inputs.rate import PeerRates


def test_a_burst_at_once_then_the_rate() -> None:
    rates = PeerRates(100, 50)
    assert rates.take("192.0.2.1", 50, 1000.0) == 0
    assert rates.take("192.0.2.1", 10, 1000.0) == approx(0.1)
    assert rates.take("192.0.2.2", 10, 1000.0) == 0
    assert rates.take("192.0.2.1", 10, 1000.2) == 0
    assert rates.take("192.0.2.1", 50, 2000.0) == 0, "it fills no further than the burst"


def test_no_rate_no_limit() -> None:
    rates = PeerRates(0, 1)
    assert (rates.take("192.0.2.1", 10**9, 1000.0), len(rates)) == (0, 0)


def test_other_limits() -> None:
    rates = PeerRates(0, 1)
    rates.take_up(10, 1)
    assert rates.take("192.0.2.1", 3, 1000.0) == approx(0.2)
    rates.forgive("192.0.2.1")
    assert rates.take("192.0.2.1", 1, 1000.0) == approx(0, abs=1e-9)


def test_full_buckets_are_forgotten() -> None:
    rates = PeerRates(10, 10)
    rates.take("192.0.2.1", 5, 1000.0)
    rates.take("192.0.2.2", 50, 1000.0)
    rates.forget(1001.0)
    assert len(rates) == 1
    rates.forget(1006.0)
    assert len(rates) == 0
