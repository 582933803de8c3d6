# ruff: noqa: DTZ001  (local times have no zone)
"""Calendar files: RFC 5545 as cities write it, summer time, recurrence, and whatever hostile hands put in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from zoneinfo import ZoneInfo

import dateutil.rrule
import pytest
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acoustic.instant import SECOND, instant_text, parse_instant
from alerts.calendar_entry import USUAL, CalendarError
from alerts.calendar_file import inspect_calendar, read_calendar
from alerts.calendar_recurrence import RecurrenceError, Steps, recurrences

NEW_YORK = ZoneInfo("America/New_York")
YEAR = (parse_instant("2026-01-01T00:00:00Z"), parse_instant("2027-01-01T00:00:00Z"))


def event(*lines, uid="one"):
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT"])


def calendar(*events):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//City//EN", *events, "END:VCALENDAR", ""]).encode()


def read(*events, horizon=YEAR, zone=NEW_YORK):
    return read_calendar(calendar(*events), *horizon, zone)


def show(*lines, uid="one"):
    return event("CATEGORIES:FIREWORKS", *lines, uid=uid)


def starts(events):
    return [instant_text(one.start_ns, 0) for one in events]


JULY = ("DTSTART;TZID=America/New_York:20260704T210000", "DTEND;TZID=America/New_York:20260704T220000")


def test_everything_that_an_event_can_tell():
    (one,) = read(
        event(
            *JULY,
            "SUMMARY:Independence\\, at the harbour",
            "CATEGORIES:CITY,Permitted Fireworks",
            "GEO:41.7658;-72.6734",
            "X-SHOTFIX-RADIUS-M:750",
            "X-SHOTFIX-EXPECTED-PER-HOUR:240",
            "X-SHOTFIX-BUDGET-PER-HOUR:20",
        )
    )
    assert (one.name, one.kind) == ("Independence, at the harbour", "fireworks")
    assert (one.latitude, one.longitude, one.radius_m) == (41.7658, -72.6734, 750.0)
    assert (one.expected_per_hour, one.budget_per_hour) == (240.0, 20.0)
    assert instant_text(one.start_ns, 0) == "2026-07-05T01:00:00Z"
    assert one.end_ns - one.start_ns == 3600 * SECOND


@pytest.mark.parametrize(
    ("category", "kind"),
    [("FIREWORKS", "fireworks"), ("Parade", "parade"), ("Gun range", "range"), ("CONSTRUCTION", "construction")],
)
def test_categories_tell_the_kind_and_what_is_usual_for_it(category, kind):
    (one,) = read(event(*JULY, f"CATEGORIES:{category}", "GEO:41.7;-72.6"))
    assert one.kind == kind
    assert (one.radius_m, one.expected_per_hour, one.budget_per_hour) == USUAL[kind]


def test_an_event_without_a_place_is_of_the_whole_city_and_has_no_load_unless_it_says_so():
    (one,) = read(show(*JULY))
    assert one.citywide
    assert (one.expected_per_hour, one.budget_per_hour) == (0.0, None)
    (one,) = read(show(*JULY, "X-SHOTFIX-EXPECTED-PER-HOUR:60"))
    assert one.expected_per_hour == 60.0


def test_what_does_not_bang_is_cancelled_or_lies_outside_is_counted_and_left_out():
    reading = inspect_calendar(
        calendar(
            event(*JULY, "SUMMARY:Council meeting", "CATEGORIES:MEETING", uid="a"),
            show(*JULY, "STATUS:CANCELLED", uid="b"),
            show("DTSTART:20200704T210000Z", uid="c"),
            show(*JULY, uid="d"),
            event(*JULY, "X-SHOTFIX-EXPECTED-PER-HOUR:5", uid="e"),
        ),
        *YEAR,
    )
    assert len(reading.events) == 2
    assert (reading.unrelated, reading.cancelled, reading.outside) == (1, 1, 1)
    assert {one.kind for one in reading.events} == {"fireworks", "other"}


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("DTSTART:20260704T210000Z", "2026-07-04T21:00:00Z"),
        ("DTSTART:20260704T210000", "2026-07-05T01:00:00Z"),  # floating: the site's
        ("DTSTART;TZID=Europe/Berlin:20260704T210000", "2026-07-04T19:00:00Z"),
        ("DTSTART;TZID=Eastern Standard Time:20260704T210000", "2026-07-05T01:00:00Z"),  # as Windows calls it
        ("DTSTART;VALUE=DATE:20260704", "2026-07-04T04:00:00Z"),
    ],
)
def test_zones_floating_times_and_whole_days(start, said):
    assert starts(read(show(start))) == [said]


@pytest.mark.parametrize(
    ("lines", "hours"),
    [
        (("DTSTART:20260704T210000Z", "DURATION:PT90M"), 1.5),
        (("DTSTART:20260704T210000Z",), 1.0),
        (("DTSTART;VALUE=DATE:20260704",), 24.0),
        (("DTSTART;VALUE=DATE:20260704", "DTEND;VALUE=DATE:20260706"), 48.0),
        (("DTSTART;VALUE=DATE:20260308",), 23.0),  # summer time begins
        (("DTSTART;VALUE=DATE:20261101",), 25.0),  # and ends
        (("DTSTART;TZID=America/New_York:20260308T013000", "DTEND;TZID=America/New_York:20260308T033000"), 1.0),
        (("DTSTART;TZID=America/New_York:20261101T003000", "DTEND;TZID=America/New_York:20261101T023000"), 3.0),
    ],
)
def test_how_long_it_lasts(lines, hours):
    (one,) = read(show(*lines))
    assert (one.end_ns - one.start_ns) / (3600 * SECOND) == hours


def test_a_weekly_event_keeps_its_local_time_through_both_changes():
    rule = "RRULE:FREQ=WEEKLY;BYDAY=SU"
    found = read(show("DTSTART;TZID=America/New_York:20260301T100000", rule))
    assert len(found) == 44
    assert starts(found)[:2] == ["2026-03-01T15:00:00Z", "2026-03-08T14:00:00Z"]
    at = {datetime.fromtimestamp(one.start_ns / SECOND, NEW_YORK).strftime("%a %H:%M") for one in found}
    assert at == {"Sun 10:00"}


def test_times_that_do_not_come_are_left_out_and_those_that_come_twice_come_once():
    lost = read(show("DTSTART;TZID=America/New_York:20260307T023000", "RRULE:FREQ=DAILY;COUNT=3"))
    assert starts(lost) == ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"]
    twice = read(show("DTSTART;TZID=America/New_York:20261031T013000", "RRULE:FREQ=DAILY;COUNT=3"))
    assert starts(twice) == ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]
    (one,) = read(show("DTSTART;TZID=America/New_York:20260308T023000"))
    assert instant_text(one.start_ns, 0) == "2026-03-08T07:30:00Z"  # the standard: the offset from before the gap


# Examples of RFC 5545, section 3.8.5.3, whose dates the standard lists, set into 1997 and 1998.
RFC_EXAMPLES = [
    ("FREQ=DAILY;COUNT=10", ["19970902", "19970903", "19970904", "19970905", "19970906", "19970907", "19970908", "19970909", "19970910", "19970911"]),
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", ["19970902", "19970912", "19970922", "19971002", "19971012"]),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", ["19970902", "19970904", "19970916", "19970918", "19970930", "19971002", "19971014", "19971016"]),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", ["19970922", "19971020", "19971117", "19971222", "19980119", "19980216"]),
    ("FREQ=MONTHLY;BYMONTHDAY=-3;COUNT=6", ["19970928", "19971029", "19971128", "19971229", "19980129", "19980226"]),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", ["19970904", "19971007", "19971106"]),
    ("FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", ["19970902", "19970904", "19970909", "19970911", "19970916", "19970918", "19970923", "19970925", "19970930", "19971002"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "days"), RFC_EXAMPLES)
def test_the_standards_own_examples(rule, days):
    horizon = (parse_instant("1997-01-01T00:00:00Z"), parse_instant("1999-01-01T00:00:00Z"))
    start = "DTSTART;TZID=America/New_York:" + (
        "19970922"
        if "-2MO" in rule
        else "19970928"
        if "DAY=-3" in rule
        else "19970904"
        if "SETPOS" in rule
        else "19970902"
    )
    found = read(show(f"{start}T090000", f"RRULE:{rule}"), horizon=horizon)
    assert [f"{datetime.fromtimestamp(one.start_ns / SECOND, NEW_YORK):%Y%m%dT%H}" for one in found] == [
        f"{day}T09" for day in days
    ]


def test_exceptions_additions_and_changed_instances():
    lines = ("DTSTART;TZID=America/New_York:20260606T210000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=6")
    found = read(
        show(
            *lines,
            "EXDATE;TZID=America/New_York:20260613T210000",
            "EXDATE:20260621T010000Z",
            "EXDATE;VALUE=DATE:20260627",
            "RDATE;TZID=America/New_York:20260610T200000,20260611T200000",
        ),
        show(
            "RECURRENCE-ID;TZID=America/New_York:20260704T210000",
            "DTSTART;TZID=America/New_York:20260704T223000",
            "SUMMARY:Later",
        ),
        show(
            "RECURRENCE-ID;TZID=America/New_York:20260711T210000",
            "STATUS:CANCELLED",
            "DTSTART;TZID=America/New_York:20260711T210000",
        ),
    )
    assert [(s, one.name) for s, one in zip(starts(found), found, strict=True)] == [
        ("2026-06-07T01:00:00Z", "unnamed event"),
        ("2026-06-11T00:00:00Z", "unnamed event"),
        ("2026-06-12T00:00:00Z", "unnamed event"),
        ("2026-07-05T02:30:00Z", "Later"),
    ]


def test_the_latest_edition_of_an_entry_counts():
    found = read(show("SEQUENCE:2", "DTSTART:20260705T000000Z"), show("SEQUENCE:1", "DTSTART:20260601T000000Z"))
    assert starts(found) == ["2026-07-05T00:00:00Z"]


def test_two_entries_of_one_edition_that_differ_are_refused_and_the_same_twice_counts_once():
    twice = show(*JULY, "SUMMARY:Harbour"), show("SUMMARY:Harbour", *JULY, "DTSTAMP:20260101T000000Z")
    assert len(read(*twice)) == 1
    with pytest.raises(CalendarError, match="event one: 2 different entries have this UID and SEQUENCE 0; give each"):
        read(show(*JULY), show("DTSTART:20260601T000000Z"))
    assert len(read(show(*JULY), show("DTSTART:20260601T000000Z"), show(*JULY, "SEQUENCE:1"))) == 1
    changed = [show("RECURRENCE-ID:20260705T010000Z", f"DTSTART:2026070{day}T010000Z") for day in (6, 7)]
    with pytest.raises(CalendarError, match="2 different entries"):
        read(show(*JULY, "RRULE:FREQ=DAILY;COUNT=3"), *changed)


def test_a_changed_instance_is_what_its_series_is_unless_it_says_otherwise():
    lines = ("GEO:41.7;-72.6", "X-SHOTFIX-RADIUS-M:750", "X-SHOTFIX-EXPECTED-PER-HOUR:240", "SUMMARY:Harbour")
    series = show(*JULY, "RRULE:FREQ=WEEKLY;COUNT=3", *lines)
    later = event("RECURRENCE-ID:20260712T010000Z", "DTSTART:20260712T023000Z")
    moved = event("RECURRENCE-ID:20260719T010000Z", "DTSTART:20260719T010000Z", "GEO:41.8;-72.6", "SUMMARY:Park")
    found = read(series, later, moved)
    assert [(one.kind, one.name, one.latitude, one.radius_m, one.expected_per_hour) for one in found] == [
        ("fireworks", "Harbour", 41.7, 750.0, 240.0),
        ("fireworks", "Harbour", 41.7, 750.0, 240.0),
        ("fireworks", "Park", 41.8, 750.0, 240.0),
    ]
    assert starts(found)[1] == "2026-07-12T02:30:00Z"


def test_what_was_read_and_left_out_is_told_in_words():
    reading = inspect_calendar(calendar(show(*JULY), show(*JULY, "STATUS:CANCELLED", uid="b")), *YEAR)
    assert reading.words() == "1 event; left out: 1 cancelled"
    reading = inspect_calendar(calendar(event(*JULY), show("DTSTART:20200704T210000Z", uid="c")), *YEAR)
    assert reading.words() == "0 events; left out: 1 without a category that bangs, 1 outside these days"
    assert inspect_calendar(calendar(show(*JULY)), *YEAR).words() == "1 event"


def test_an_event_that_runs_over_the_horizons_edge_is_in_it():
    horizon = (parse_instant("2026-07-05T01:30:00Z"), parse_instant("2026-07-05T01:31:00Z"))
    assert len(read(show(*JULY), horizon=horizon)) == 1
    assert (
        len(
            read(
                show("DTSTART;TZID=America/New_York:20200104T210000", "DURATION:PT2H", "RRULE:FREQ=DAILY"),
                horizon=horizon,
            )
        )
        == 1
    )


STARTS = st.datetimes(datetime(2012, 1, 1), datetime(2026, 12, 1)).map(lambda t: t.replace(microsecond=0))


def listed(values, most=3):
    return st.lists(values, min_size=1, max_size=most, unique=True).map(lambda chosen: ",".join(map(str, chosen)))


def part(name, values):
    return st.one_of(st.just(""), values.map(lambda value: f";{name}={value}"))


WEEKDAYS = st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"])
ORDINALS = st.tuples(st.sampled_from(["1", "2", "-1", "5", "-3"]), WEEKDAYS).map("".join)
DAYS = part("BYDAY", st.one_of(listed(WEEKDAYS), listed(ORDINALS)))  # of both at once dateutil takes what is in both
COMMON = (
    part("INTERVAL", st.integers(1, 9)), part("BYMONTH", listed(st.integers(1, 12))), part("BYHOUR", listed(st.integers(0, 23))),
    part("BYMINUTE", listed(st.integers(0, 59), 2)), part("COUNT", st.integers(1, 60)), part("WKST", WEEKDAYS),
)  # fmt: skip
MONTHDAYS, SETPOS = (
    part("BYMONTHDAY", listed(st.integers(-31, 31).filter(bool))),
    part("BYSETPOS", listed(st.integers(-4, 4).filter(bool))),
)
RULES = st.one_of(
    st.tuples(st.just("FREQ=DAILY"), *COMMON, part("BYDAY", listed(WEEKDAYS)), MONTHDAYS),
    st.tuples(st.just("FREQ=WEEKLY"), *COMMON, part("BYDAY", listed(WEEKDAYS))),
    st.tuples(st.just("FREQ=MONTHLY"), *COMMON, DAYS, MONTHDAYS, SETPOS),
    st.tuples(st.just("FREQ=YEARLY"), *COMMON, DAYS, MONTHDAYS, SETPOS),
    st.tuples(
        st.just("FREQ=YEARLY"),
        part("INTERVAL", st.integers(1, 4)),
        part("BYYEARDAY", listed(st.integers(-366, 366).filter(bool))),
    ),
).map("".join)


def as_dateutil(rule, start):
    first, last = datetime(2025, 3, 1), datetime(2027, 3, 1)
    bounded = rule if "COUNT" in rule else f"{rule};UNTIL=20270301T000000"
    # A rule that never comes, dateutil follows to the last year that there is.
    with patch.object(dateutil.rrule.datetime, "MAXYEAR", 2030):
        try:
            found = list(rrulestr(bounded, dtstart=start))
        except ValueError:
            return  # or stumbles over it
    assert list(recurrences(rule, start, first, last, Steps())) == [at for at in found if first <= at <= last]


test_rules_are_read_as_dateutil_reads_them = settings(max_examples=150, deadline=None)(
    given(RULES, STARTS)(as_dateutil)
)
test_rules_are_read_as_dateutil_reads_them_long = pytest.mark.endurance(
    settings(max_examples=1_500, deadline=None)(given(RULES, STARTS)(as_dateutil))
)


HOSTILE_RULES = [
    "FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=HOURLY", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;COUNT=0",
    "FREQ=DAILY;INTERVAL=99999999999999999999", "FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=0,30",
    "FREQ=YEARLY;BYSETPOS=999", "FREQ=YEARLY;BYWEEKNO=20", "FREQ=WEEKLY;BYDAY=2MO", "FREQ=DAILY;BYEASTER=0", "FREQ=YEARLY;BYYEARDAY=" + ",".join(["1"] * 500), "FREQ=DAILY;UNTIL=soon", "COUNT=3",
    "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;FREQ=DAILY;BYMONTH=13",
]  # fmt: skip


@pytest.mark.parametrize("rule", HOSTILE_RULES)
def test_rules_that_are_none_or_too_much_name_the_event(rule):
    with pytest.raises(CalendarError, match=r"^the calendar: (event one: |not an iCalendar)"):
        read(show(*JULY, f"RRULE:{rule}"))


@pytest.mark.parametrize(
    "never",
    ["FREQ=DAILY;COUNT=1;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYDAY=1FR;BYMONTHDAY=31", "FREQ=YEARLY;BYSETPOS=9"],
)
def test_rules_that_never_come_cost_no_more_than_others(never):
    steps = Steps(100_000)
    assert list(recurrences(never, datetime(1990, 1, 1), datetime(2026, 1, 1), datetime(2027, 1, 1), steps)) == []
    assert read(show("DTSTART:19900101T000000Z", f"RRULE:{never}")) == ()


def test_rules_without_end_are_bounded():
    long_ago = [
        show("DTSTART:19000101T000000Z", "RRULE:FREQ=DAILY;COUNT=999999;BYMONTH=2;BYMONTHDAY=30", uid=f"e{k}")
        for k in range(25)
    ]
    with pytest.raises(CalendarError, match="take too long"):
        read(*long_ago)
    with pytest.raises(CalendarError, match="more than 20,000 events"):
        read(
            *(
                show("DTSTART:20260101T000000Z", "RRULE:FREQ=DAILY;BYHOUR=0,4,8,12,16,20", uid=f"e{k}")
                for k in range(12)
            )
        )
    with pytest.raises(RecurrenceError):
        list(recurrences("FREQ=DAILY", datetime(1, 1, 1), datetime(1, 1, 1), datetime(9999, 1, 1), Steps()))


def test_events_that_pile_up_are_refused_with_the_remedy():
    """A range that is open daily, and whose entry ends with the year: soon there are hundreds of it at once."""
    always = ("DTSTART:20260101T080000Z", "DTEND:20261231T180000Z", "RRULE:FREQ=DAILY")
    for place in ((), ("GEO:41.7;-72.6",)):
        with pytest.raises(CalendarError, match=r"more than 50 events at once in one place .*mend DTEND"):
            read(show(*always, *place))
    shows = [show(*JULY, f"GEO:41.7;-{60 + k / 10}", uid=f"u{k}") for k in range(1_001)]
    assert len(read(*shows[1:])) == 1_000
    with pytest.raises(CalendarError, match="more than 1,000 events at once in all"):
        read(*shows)
    one_after_another = show("DTSTART:20260101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;BYHOUR=0,1,2,3,4,5")
    assert len(read(one_after_another)) > 2_000


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("DTSTART;TZID=Mars/Base:20260704T210000",), "TZID Mars/Base is no known zone"),
        (("DTSTART:tomorrow",), "DTSTART"),
        ((), "no DTSTART"),
        ((*JULY, ":::"), "a line is wrong"),
        ((*JULY, "GEO:north"), "GEO is wrong"),
        ((*JULY, "GEO:95.0;0.0"), "expected degrees"),
        ((*JULY, "GEO:41;-72", "GEO:42;-72"), "it has 2 lines of GEO; keep one"),
        ((*JULY, "X-SHOTFIX-RADIUS-M:500"), "no GEO"),
        ((*JULY, "GEO:41;-72", "X-SHOTFIX-RADIUS-M:wide"), "X-SHOTFIX-RADIUS-M is wide; give one number"),
        ((*JULY, "GEO:41;-72", "X-SHOTFIX-RADIUS-M:nan"), "radius_m is nan"),
        ((*JULY, "X-SHOTFIX-EXPECTED-PER-HOUR:1e99"), "expected_per_hour"),
        ((*JULY, "GEO:41;-72", "X-SHOTFIX-RADIUS-M:1", "X-SHOTFIX-RADIUS-M:2"), "give one number"),
        (("DTSTART:20260704T210000Z", "DTEND:20260704T200000Z"), "ends before it begins"),
        (("DTSTART:20260704T210000Z", "DTEND:20260704T210000Z"), "at once"),
        (("DTSTART:20260704T210000Z", "DTEND;VALUE=DATE:20260704"), "mend"),
        ((*JULY, "EXRULE:FREQ=DAILY"), "EXRULE"),
        ((*JULY, "RRULE:FREQ=DAILY;COUNT=2", "RRULE:FREQ=DAILY;COUNT=2"), "several RRULEs"),
        ((*JULY, "RDATE;VALUE=PERIOD:20260704T210000Z/PT1H"), "RDATE with periods"),
        ((*JULY, "RECURRENCE-ID;RANGE=THISANDFUTURE:20260704T210000Z"), "RANGE"),
        (("DTSTART:99991231T230000",), "mend or remove it"),
        (("DTSTART:20260704T210000Z", "DURATION:P99999999999D"), "event one"),
    ],
)
def test_what_is_wrong_is_said_with_the_event_and_what_to_do(lines, said):
    with pytest.raises(CalendarError) as caught:
        read(show(*lines))
    assert str(caught.value).startswith("the calendar: event one: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_named_and_what_is_no_calendar_refused(tmp_path):
    path = tmp_path / "city.ics"
    with pytest.raises(CalendarError, match=r"city\.ics: No such file"):
        read_calendar(path, *YEAR)
    for content in (
        b"",
        b"<html>",
        b"BEGIN:VCALENDAR",
        b"BEGIN:VTODO\r\nEND:VTODO\r\n",
        b"\xff\xfe\x00",
        b"BEGIN:VEVENT\r\n" * 9,
    ):
        path.write_bytes(content)
        with pytest.raises(CalendarError, match=r"city\.ics: .*; export"):
            read_calendar(path, *YEAR)
    path.write_bytes(calendar())
    assert read_calendar(path, *YEAR) == ()
    path.write_bytes(calendar(show(*JULY)) * 2)  # two calendars in one file
    assert len(read_calendar(path, *YEAR)) == 1


def test_sizes_are_bounded(tmp_path):
    path = tmp_path / "big.ics"
    path.write_bytes(b"x" * 10_000_001)
    with pytest.raises(CalendarError, match="larger than 10 MB"):
        read_calendar(path, *YEAR)
    path.write_bytes(b"BEGIN:VEVENT\n" * 20_001)
    with pytest.raises(CalendarError, match="more than 10,000 entries"):
        read_calendar(path, *YEAR)
    path.write_bytes(b"BEGIN:VEVENT\n" * 5_000 + b"END:VEVENT\n" * 5_000)
    with pytest.raises(CalendarError):
        read_calendar(path, *YEAR)


def test_lines_and_dates_are_bounded_and_folds_are_none():
    dates = ",".join(["20260704T210000Z"] * 60_000)
    for lines in (["X-A:1"] * 100_000, [f"RDATE:{dates}", f"exdate:{dates}"], ["CATEGORIES:" + "a," * 100_000]):
        with pytest.raises(CalendarError, match="more than 100,000 lines and dates; export fewer"):
            read(show(*JULY, *lines))
    assert len(read(show(*JULY, "DESCRIPTION:" + "x\r\n , " * 100_000))) == 1


def test_parameters_are_bounded_and_what_is_behind_the_colon_is_none():
    values = ",".join(["b"] * 60_000)
    for lines in ([f"X-A;B={values}:1"] * 2, [f'X-A;B="c:d",{values}:1', f"X-A;B={values}:1"]):
        with pytest.raises(CalendarError, match="more than 100,000 parameters of lines; export fewer"):
            read(show(*JULY, *lines))
    assert len(read(show(*JULY, *["X-A:1" + ";B=b,c" * 60_000] * 2))) == 1


def test_a_zone_with_its_makers_name_before_it_is_that_zone_without_a_warning():
    """Evolution writes them so; warnings are errors here."""
    (one,) = read(show("DTSTART;TZID=/freeassociation.sourceforge.net/America/New_York:20260704T210000"))
    assert instant_text(one.start_ns, 0) == "2026-07-05T01:00:00Z"


def test_zones_of_the_files_own_making_are_not_read():
    """They could hold rules without end, or another New York."""
    rule = "BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+1300\r\nRRULE:FREQ=SECONDLY\r\nEND:STANDARD"
    zone = f"BEGIN:VTIMEZONE\r\nTZID:America/New_York\r\n{rule}\r\nEND:VTIMEZONE"
    assert starts(read(zone, show(*JULY))) == ["2026-07-05T01:00:00Z"]


def test_zones_that_do_not_end_are_no_burden():
    with pytest.raises(CalendarError, match="not an iCalendar"):
        read_calendar(b"BEGIN:VTIMEZONE\r\n" * 15_000 + b"x" * 1_000_000, *YEAR)


def test_names_are_for_people_and_cannot_move_a_terminal():
    (one,) = read(show(*JULY, "SUMMARY:Show\x1b[31m \\n\\n by the " + "very " * 50 + "old bridge"))
    assert one.name.startswith("Show[31m by the very")
    assert len(one.name) == 100
    with pytest.raises(CalendarError) as caught:
        read(show("DTSTART:2026", uid="x\x1b[2J" + "y" * 500))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


PIECES = st.sampled_from(
    ["BEGIN:VEVENT", "END:VEVENT", "BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VALARM", "END:VALARM", "BEGIN:VTIMEZONE", "END:VTIMEZONE",
     "UID:a", "CATEGORIES:FIREWORKS", "CATEGORIES:", "DTSTART:20260704T210000Z", "DTSTART;VALUE=DATE:20260704", "DTSTART;TZID=Europe/Berlin:20260329T023000",
     "DTEND:20260704T230000Z", "DTEND;VALUE=DATE:20260704", "DURATION:P1W", "DURATION:-P1D", "DURATION:P", "RRULE:FREQ=DAILY;COUNT=3", "RRULE:FREQ=YEARLY;BYDAY=-1SU",
     "RRULE:;;=", "RRULE:FREQ=WEEKLY;UNTIL=20260801", "RRULE:FREQ=DAILY;UNTIL=99991231T235959Z", "EXDATE:20260705T210000Z", "EXDATE;VALUE=DATE:20260705", "RDATE:20260909T000000",
     "RDATE;VALUE=PERIOD:20260704T210000Z/PT1H", "RECURRENCE-ID:20260705T210000Z", "RECURRENCE-ID;VALUE=DATE:20260705", "GEO:41.7;-72.6", "GEO:;", "SEQUENCE:2", "SEQUENCE:x",
     "STATUS:CANCELLED", "X-SHOTFIX-RADIUS-M:100", "X-SHOTFIX-EXPECTED-PER-HOUR:", "SUMMARY;X='", " folded", "\ttab", "=:;", ""]
)  # fmt: skip


def survives(content):
    """Events or a CalendarError of one line: nothing else, whatever is in it."""
    try:
        found = read_calendar(content, *YEAR, NEW_YORK)
    except CalendarError as error:
        found, said = (), str(error)
    else:
        said = ""
    assert "\n" not in said
    assert len(said) < 600
    assert all(one.end_ns > one.start_ns for one in found)


WHOLE = calendar(
    show(
        *JULY,
        "GEO:41.7;-72.6",
        "X-SHOTFIX-RADIUS-M:750",
        "RRULE:FREQ=WEEKLY;COUNT=5",
        "EXDATE;TZID=America/New_York:20260711T210000",
    ),
    show("RECURRENCE-ID;TZID=America/New_York:20260718T210000", "DTSTART;TZID=America/New_York:20260718T220000"),
)


def pieces(lines):
    survives(b"\r\n".join(line.encode() for line in lines))
    survives(calendar(event(*lines)))


def torn(at, what, length):
    survives(WHOLE[: at % len(WHOLE)] + what + WHOLE[at % len(WHOLE) + length :])


SHORT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINES, TEAR = st.lists(PIECES, max_size=14), (st.integers(0, 2000), st.binary(max_size=8), st.integers(0, 40))

test_whatever_lines_are_in_it = SHORT(given(LINES)(pieces))
test_whatever_happened_to_its_bytes = SHORT(given(*TEAR)(torn))
test_whatever_lines_are_in_it_long = pytest.mark.endurance(LONG(given(LINES)(pieces)))
test_whatever_happened_to_its_bytes_long = pytest.mark.endurance(LONG(given(*TEAR)(torn)))


def test_reading_is_the_same_in_whatever_order_the_entries_stand():
    many = [show(f"DTSTART:202607{day:02d}T210000Z", f"SUMMARY:s{day}", uid=f"u{day}") for day in range(1, 29)]
    assert read(*many) == read(*reversed(many))
    assert all(
        b.start_ns - a.start_ns == timedelta(days=1).total_seconds() * SECOND
        for a, b in zip(read(*many), read(*many)[1:], strict=False)
    )
    assert datetime.fromtimestamp(read(*many)[0].start_ns / SECOND, UTC).day == 1
