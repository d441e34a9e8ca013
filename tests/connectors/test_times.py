import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.times import EARLIEST, LATEST, TimeError, parse_time

NOON = datetime(2008, 8, 27, 13, 8, 45, tzinfo=UTC)

moments = st.datetimes(
    min_value=datetime(1975, 1, 1),  # noqa: DTZ001
    max_value=datetime(2261, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "value",
    [
        "2008-08-27T13:08:45Z",
        "2008-08-27T13:08:45+00:00",
        "2008-08-27T15:08:45+0200",
        "2008-08-27 15:08:45 +02:00",
        "2008-08-27 13:08:45 UTC",
        "20080827T130845Z",
        " 2008-08-27T13:08:45.000Z\n",
        "Wed, 27 Aug 2008 13:08:45 +0000",
        "Wed, 27 Aug 2008 13:08:45 GMT",
        "27 Aug 2008 09:08:45 EDT",
        "Wed Aug 27 13:08:45 +0000 2008",
        1219842525,
        1219842525.0,
        1219842525000,
        1219842525000000,
        1219842525000000000,
        "1219842525",
        "1219842525.0",
        "1219842525000",
        "1219842525000000000",
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5))),
    ],
)
def test_times_with_a_zone_are_understood(value: object) -> None:
    assert parse_time(value) == (NOON, False)


@pytest.mark.parametrize(
    "value",
    [
        "2008-08-27 13:08:45",
        "2008-08-27T13:08:45",
        "2008/08/27 13:08:45",
        "20080827130845",
        "27-8-2008 13:08:45",
        "27.08.2008 13:08:45",
        "Wed Aug 27 13:08:45 2008",
        "Aug 27, 2008, 13:08:45",
        datetime(2008, 8, 27, 13, 8, 45),  # noqa: DTZ001
    ],
)
def test_times_without_a_zone_are_taken_as_utc_and_reported(value: object) -> None:
    assert parse_time(value) == (NOON, True)


@pytest.mark.parametrize(
    "value",
    ["2020-07-18", "20200718", "2020-W29-6", "Jul 18 2020", "July 18, 2020", "18-Jul-2020"],
)
def test_a_date_alone_is_its_midnight(value: str) -> None:
    assert parse_time(value) == (datetime(2020, 7, 18, tzinfo=UTC), True)


def test_day_month_year_with_minutes() -> None:
    assert parse_time("5-12-2021 9:05").at == datetime(2021, 12, 5, 9, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "soon",
        "nan",
        "1/2/2021",
        "2021-02-30",
        "2021-02-30T00:00:00Z",
        "2021-13-01 00:00:00",
        "31-2-2021 10:00",
        "2016-12-31T23:59:60Z",
        "Mon, 32 Jan 2020 10:00:00 GMT",
        "Foo 18 2020",
        "2014-01-01x12:00",
        "1969-12-31T23:59:59Z",
        "2262-01-01",
        "9999-12-31T23:59:59-23:00",
        "0001-01-01T00:00:00+14:00",
        "9" * 30,
        "9" * 6000,
        -1,
        10**400,
        math.nan,
        math.inf,
        -math.inf,
        None,
        True,
        [],
        {"time": 1},
        b"2020-01-01",
    ],
)
def test_what_is_no_possible_time_is_refused_in_words(value: object) -> None:
    with pytest.raises(TimeError, match=r"\w+ \w+"):
        parse_time(value)


def test_a_number_too_long_to_be_printed_is_refused_as_well() -> None:
    with pytest.raises(TimeError):
        parse_time(10**6000)


def test_a_unix_time_that_looks_like_a_date_is_a_unix_time() -> None:
    assert parse_time("1412091212345").at == datetime(2014, 9, 30, 15, 33, 32, 345000, tzinfo=UTC)


@given(moments, zones)
def test_iso_8601_is_exact_to_the_microsecond(at: datetime, zone: timezone) -> None:
    assert parse_time(at.astimezone(zone).isoformat()) == (at, False)
    assert parse_time(at.isoformat().replace("+00:00", "Z")) == (at, False)
    assert parse_time(at.replace(tzinfo=None).isoformat(" ")) == (at, True)


@given(moments)
def test_unix_times_are_exact_in_every_unit(at: datetime) -> None:
    microseconds = (at - EARLIEST) // timedelta(microseconds=1)
    assert parse_time(microseconds) == (at, False)
    assert parse_time(str(microseconds * 1000)) == (at, False)
    assert parse_time(f"{microseconds // 10**6}.{microseconds % 10**6:06}") == (at, False)
    whole = at.replace(microsecond=0)
    assert parse_time(microseconds // 10**6) == (whole, False)


@given(moments)
def test_rfc_2822_and_twitter_agree_with_iso(at: datetime) -> None:
    whole = at.replace(microsecond=0)
    assert parse_time(format_datetime(whole)).at == whole
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905
    twitter = f"Wed {months[whole.month - 1]} {whole.day:02} {whole:%H:%M:%S} +0000 {whole.year}"
    assert parse_time(twitter) == (whole, False)


@given(st.one_of(st.text(), st.floats(), st.integers(), st.text("0123456789-/:.TZ+ ,")))
def test_anything_else_is_a_time_in_range_or_an_error(value: object) -> None:
    try:
        at, _ = parse_time(value)
    except TimeError:
        return
    assert EARLIEST <= at < LATEST
    assert at.tzinfo is UTC
