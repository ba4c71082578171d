import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.units import bytes_iec, percent, scaled, show, significant


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.1e-5, "s", "31.0 µs"),
        (0.99996, "s", "1.00 s"),
        (9.996e-4, "s", "1.00 ms"),
        (1234.0, "s", "1234 s"),
        (312e12, "FLOP/s", "312 TFLOP/s"),
        (999.96, "B/s", "1.00 kB/s"),
        (0.0, "s", "0 s"),
        (1.5, "x", "1.50x"),
        (61.4, "°C", "61 °C"),
        (1.5e-15, "s", "1.50e-15 s"),
    ],
)
def test_scaled(value: float, unit: str, text: str) -> None:
    assert scaled(value, unit) == text


@given(st.floats(min_value=1e-11, max_value=1e20))
def test_scaled_keeps_three_digits(value: float) -> None:
    number, _, unit = scaled(value, "B").partition(" ")
    prefix = unit.removesuffix("B")
    factor = {"": 1, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12, "k": 1e3, "M": 1e6, "G": 1e9,
              "T": 1e12, "P": 1e15, "E": 1e18}[prefix]  # fmt: skip
    assert float(number) * factor == pytest.approx(value, rel=0.006)
    assert float(number) < 1000 or prefix == "E"


def test_special_values() -> None:
    assert significant(math.nan) == "nan"
    assert show("time_s", None) == "–"
    assert show("rel_error", 2.49e-7) == "2.5e-07"
    assert percent(0.0123) == "1.2 %"
    assert bytes_iec(40 * 2**30) == "40.0 GiB"
    assert bytes_iec(1000) == "1000 B"
