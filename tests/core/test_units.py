"""Quantities: how they are read, what is said of those that cannot be, and how they are told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import (
    Unit,
    format_availability,
    format_duration,
    format_part,
    format_value,
    parse_duration,
    parse_ratio,
    parse_size,
)

GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The basic character set of text messages (3GPP TS 23.038, 6.2.1)."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("1d2h3m4s5ms", 93_784.005),
        ("0s", 0),
        ("  5m ", 300),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("512", 512),
        ("512B", 512),
        ("1kB", 1_000),
        ("1KB", 1_000),
        ("5MB", 5_000_000),
        ("5GB", 5_000_000_000),
        ("2TB", 2_000_000_000_000),
        ("1KiB", 1_024),
        ("512MiB", 536_870_912),
        ("1.5GiB", 1_610_612_736),
        ("1TiB", 1_099_511_627_776),
        ("512 MiB", 536_870_912),
    ],
)
def test_sizes_are_read(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize(("text", "ratio"), [("90%", 0.9), ("90 %", 0.9), ("0.9", 0.9), ("1", 1), ("250%", 2.5)])
def test_ratios_are_read(text: str, ratio: float) -> None:
    assert parse_ratio(text) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30", "it needs a unit, 30s, 30m, 30h"),
        ("5min", "write 5m"),
        ("10 sec", "write 10s"),
        ("2 hours", "write 2h"),
        ("1 d", "write 1d"),
        ("5 parsecs", "such as 30s, 5m, 2h or 7d"),
        ("", "such as 30s"),
        ("-5s", "such as 30s"),
        ("1e3s", "such as 30s"),
        ("٣s", "such as 30s"),
        ("s", "such as 30s"),
        ("5m!", "such as 30s"),
        ("9" * 400 + "s", "such as 30s"),
    ],
)
def test_what_is_no_duration_says_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(UnitError) as raised:
        parse_duration(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("512mib", "write 512MiB"),
        ("5gb", "write 5GB"),
        ("1 kb", "write 1kB"),
        ("5G", "write it like 512MiB"),
        ("-1", "write it like 512MiB"),
        ("", "write it like 512MiB"),
        ("9" * 400, "write it like 512MiB"),
    ],
)
def test_what_is_no_size_says_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(UnitError) as raised:
        parse_size(text)
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["", "%", "ninety", "90%%", "-5%", "9" * 400])
def test_what_is_no_ratio_says_what_would_be_right(text: str) -> None:
    with pytest.raises(UnitError, match=r"write it like 90% or 0\.9"):
        parse_ratio(text)


@pytest.mark.parametrize("parse", [parse_duration, parse_size, parse_ratio])
@given(text=st.text(max_size=40) | st.from_regex(r"[0-9.]{1,12} ?[a-zA-Z%/]{0,4}", fullmatch=True))
def test_reading_gives_a_number_or_a_unit_error(parse: object, text: str) -> None:
    try:
        value = parse(text)  # type: ignore[operator]
    except UnitError:
        return
    assert value >= 0
    assert math.isfinite(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00001, "0.01 ms"),
        (0.2131, "213 ms"),
        (0.9996, "1 s"),
        (1.31, "1.31 s"),
        (9.996, "10 s"),
        (42, "42 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (61, "1 min 1 s"),
        (3_599.7, "1 h"),
        (4_800, "1 h 20 min"),
        (86_399, "1 d"),
        (259_200, "3 d"),
        (93_600, "1 d 2 h"),
        (-300, "-5 min"),
        (math.inf, "inf s"),
    ],
)
def test_durations_are_told_shortly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.931, Unit.RATIO, "93.1 %"),
        (0.9, Unit.RATIO, "90 %"),
        (2.5, Unit.RATIO, "250 %"),
        (0.213, Unit.SECONDS, "213 ms"),
        (1.5 * 2**30, Unit.BYTES, "1.5 GiB"),
        (512, Unit.BYTES, "512 B"),
        (-2048, Unit.BYTES, "-2 KiB"),
        (12.5 * 2**20, Unit.BYTES_PER_SECOND, "12.5 MiB/s"),
        (42, Unit.COUNT, "42"),
        (1234.5, Unit.COUNT, "1234"),
        (0.000123, Unit.COUNT, "0.000123"),
        (1e20, Unit.COUNT, "100000000000000000000"),
        (81.5, Unit.CELSIUS, "81.5 C"),
        (0, Unit.PER_SECOND, "0/s"),
        (10, Unit.PER_SECOND, "10/s"),
        (0.05, Unit.PER_SECOND, "3/min"),
        (1 / 1_800, Unit.PER_SECOND, "2/h"),
        (0.5, Unit.SECONDS_PER_SECOND, "50 %"),
        (math.nan, Unit.COUNT, "nan"),
        (math.inf, Unit.BYTES, "inf"),
    ],
)
def test_values_are_told_in_their_unit(value: float, unit: Unit, text: str) -> None:
    assert format_value(value, unit) == text


def test_more_digits_tell_close_values_apart() -> None:
    assert [format_value(0.90004, Unit.RATIO, digits) for digits in (3, 5)] == ["90 %", "90.004 %"]
    assert [format_value(300.4, Unit.SECONDS, digits) for digits in (3, 4)] == ["5 min", "300.4 s"]


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(Unit))
def test_every_value_can_be_told_in_a_text_message(value: float, unit: Unit) -> None:
    text = format_value(value, unit)
    assert text
    assert GSM_7.issuperset(text)


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d", "w"]), st.integers(0, 999))
def test_a_sum_of_durations_is_the_duration_of_the_sum(count: int, unit: str, milliseconds: int) -> None:
    both = parse_duration(f"{count}{unit}{milliseconds}ms")
    assert both == pytest.approx(parse_duration(f"{count}{unit}") + milliseconds / 1000)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "100 %"),
        (0.9999999, "99.999 %"),
        (0.99987, "99.987 %"),
        (0.999, "99.9 %"),
        (0.68164, "68.164 %"),
        (0.0, "0 %"),
    ],
)
def test_an_availability_is_never_rounded_up_to_what_was_promised(share: float, said: str) -> None:
    assert format_availability(share) == said


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "100 %"), (0.9999, "99.99 %"), (0.9984, "99.8 %"), (0.071, "7.1 %"), (1.5, "150 %")]
)
def test_a_part_of_all_is_never_called_all(share: float, said: str) -> None:
    assert format_part(share) == said
