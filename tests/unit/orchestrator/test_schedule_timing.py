"""The ticks of schedules: cron expressions in time zones, intervals, bounds, and what is late."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from graphmesh_orchestrator.schedules.schedule import (
    MAX_FAILURES,
    CatchUp,
    Due,
    Progress,
    Schedule,
    ScheduleStatus,
    Spec,
)
from graphmesh_orchestrator.schedules.timing import Timing, cron_violation, time_zones

BERLIN = ZoneInfo("Europe/Berlin")
MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC)
T0 = int(MIDNIGHT.timestamp())
MINUTE, HOUR, DAY = 60, 3600, 86400
EVERY_MINUTE = Timing("* * * * *", "", 0, 0, 0)


def cron(expression: str, time_zone: str = "Europe/Berlin") -> Timing:
    return Timing(expression, time_zone, 0, 0, 0)


def seconds(text: str, fold: int = 0) -> float:
    """Return a moment that is written in the time of Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def ticks(timing: Timing, after: float, count: int) -> list[str]:
    """Return the next ticks in the time of Berlin, with their offset."""
    return [datetime.fromtimestamp(tick, BERLIN).strftime("%d %H:%M%z") for tick in islice(timing.ticks(after), count)]


def test_tick_in_the_hour_that_is_left_out_is_at_its_end() -> None:
    """Clocks are set from 02:00 to 03:00 on 2026-03-29."""
    after = seconds("2026-03-28T12:00")
    assert ticks(cron("30 2 * * *"), after, 2) == ["29 03:00+0200", "30 02:30+0200"]
    assert ticks(cron("0,30 2 * * *"), after, 2) == ["29 03:00+0200", "30 02:00+0200"]
    assert ticks(cron("*/30 * * * *"), seconds("2026-03-29T01:15"), 3) == [
        "29 01:30+0100",
        "29 03:00+0200",
        "29 03:30+0200",
    ]


def test_tick_in_the_hour_that_is_repeated_is_in_its_first_pass() -> None:
    """Clocks are set from 03:00 to 02:00 on 2026-10-25."""
    daily = cron("30 2 * * *")
    assert ticks(daily, seconds("2026-10-24T12:00"), 2) == ["25 02:30+0200", "26 02:30+0100"]
    for moment in (seconds("2026-10-25T02:30"), seconds("2026-10-25T02:10", fold=1)):
        assert ticks(daily, moment, 1) == ["26 02:30+0100"]
    assert ticks(cron("*/30 * * * *"), seconds("2026-10-25T01:45"), 5) == [
        "25 02:00+0200",
        "25 02:30+0200",
        "25 02:00+0100",
        "25 02:30+0100",
        "25 03:00+0100",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0 */2 * * *", "15 1-3 * * 0"])
@pytest.mark.parametrize("begin", ["2026-03-28T22:10", "2026-10-24T22:10"])
def test_ticks_only_grow_and_do_not_depend_on_the_moment_of_the_question(expression: str, begin: str) -> None:
    timing, start = cron(expression), seconds(begin)
    expected = list(islice(timing.ticks(start), 30))
    assert expected == sorted(set(expected))
    for moment in range(int(start), int(start) + 8 * HOUR, 600):
        later = [tick for tick in expected if tick > moment]
        assert timing.after(moment) == later[0]
        if passed := [tick for tick in expected if tick <= moment]:
            assert timing.last(moment, expected[0]) == passed[-1]


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* * 0 * *", "* * * 13 *", "*/0 * * * *", "5-1 * * * *",
     "0 0 30 2 *", "0 0 31 4,6 *", "a * * * *", "* * * * 5L2", "1,,2 * * * *", "- * * * *", "* * * * 1#6"],
)  # fmt: skip
def test_bad_expressions_are_refused(expression: str) -> None:
    assert cron_violation(expression)


def test_dates_that_never_come_end_the_search() -> None:
    assert cron_violation("0 0 */30 2 MON#5") == ""
    assert cron("0 0 */30 2 MON#5").after(T0) is None
    assert datetime.fromtimestamp(cron("0 0 29 2 *", "").after(T0) or 0, UTC) == datetime(2028, 2, 29, tzinfo=UTC)
    assert EVERY_MINUTE.after(253_402_300_741) is None


def test_ticks_are_between_start_and_end() -> None:
    bounded = replace(EVERY_MINUTE, start=T0 + 90, end=T0 + 240)
    assert [tick - T0 for tick in bounded.ticks(0)] == [120, 180, 240]
    every = Timing("", "", 100, T0, T0 + 250)
    assert [tick - T0 for tick in every.ticks(0)] == [0, 100, 200]
    assert every.after(T0 + 100) == T0 + 200
    assert every.after(T0 + 99.5) == T0 + 100
    assert every.last(T0 + 10**6, T0) == T0 + 200


def test_names_of_time_zones_are_known() -> None:
    assert {"Europe/Berlin", "UTC", "America/Argentina/Ushuaia"} <= time_zones()
    assert not {"localtime", "../UTC", "Europe", ""} & time_zones()


def a_schedule(catch_up: CatchUp = CatchUp.SKIP, window: int = 60, timing: Timing = EVERY_MINUTE) -> Schedule:
    """Return a schedule whose next tick is at `T0`."""
    spec = Spec(b"", "pay", "", timing, catch_up, window)
    return Schedule("acme", "s", "uid", "ana", spec, MIDNIGHT, MIDNIGHT, progress=Progress(next_tick=T0))


def test_tick_in_time_is_run() -> None:
    assert a_schedule().due(T0 + 0.5) == Due(T0, T0 + MINUTE)
    assert a_schedule().due(T0 + 59.9) == Due(T0, T0 + MINUTE)


@pytest.mark.parametrize("late", [HOUR, 400 * DAY])
def test_late_ticks_are_skipped(late: int) -> None:
    """A jump of the clock over a year runs one tick, that of the last minute."""
    due = a_schedule().due(T0 + late + 30)
    assert due == Due(T0 + late, T0 + late + MINUTE, T0)
    daily = a_schedule(timing=cron("0 0 * * *", "UTC"))
    assert daily.due(T0 + 5 * HOUR) == Due(None, T0 + DAY, T0)


def test_the_last_of_the_late_ticks_is_run() -> None:
    daily = a_schedule(CatchUp.LAST, timing=cron("0 0 * * *", "UTC"))
    assert daily.due(T0 + 3 * DAY + HOUR) == Due(T0 + 3 * DAY, T0 + 4 * DAY, T0)
    assert daily.due(T0 + HOUR) == Due(T0, T0 + DAY)
    every = a_schedule(CatchUp.LAST, timing=Timing("", "", 7, T0, T0 + 700))
    assert every.due(T0 + 10**8) == Due(T0 + 700, None, T0)


def test_all_late_ticks_within_the_window_are_run_in_order() -> None:
    schedule, now, run = a_schedule(CatchUp.ALL, 5 * MINUTE), T0 + HOUR + 30, []
    while schedule.progress.next_tick <= now:
        due = schedule.due(now)
        run.append((due.tick or 0) - T0)
        schedule = schedule.ran(due, "run_1")
    assert run == [HOUR - minute * MINUTE for minute in (4, 3, 2, 1, 0)]
    assert (schedule.progress.missed, schedule.progress.run_count) == (T0, 5)


def test_clock_that_was_set_back_moves_the_next_tick_only_forward_from_now() -> None:
    """After a jump forward and back again, the schedule does not sleep until the time of the jump."""
    ahead = replace(a_schedule(), progress=Progress(next_tick=T0 + 365 * DAY))
    assert ahead.due(T0 + 10) == Due(None, T0 + MINUTE)
    assert a_schedule().due(T0 - 10) == Due(None, T0)


def test_failures_in_a_row_end_the_ticks_until_the_schedule_is_resumed() -> None:
    schedule = a_schedule()
    for _ in range(MAX_FAILURES - 1):
        schedule = schedule.refused(schedule.due(schedule.progress.next_tick), b"e", is_failure=True)
        schedule = schedule.refused(schedule.due(schedule.progress.next_tick), b"busy", is_failure=False)
    assert (schedule.status, schedule.progress.failures) == (ScheduleStatus.ACTIVE, MAX_FAILURES - 1)
    succeeded = schedule.ran(schedule.due(schedule.progress.next_tick), "run_1")
    assert (succeeded.progress.failures, succeeded.progress.last_error) == (0, None)
    failed = schedule.refused(schedule.due(schedule.progress.next_tick), b"e", is_failure=True)
    assert (failed.status, failed.progress.next_tick) == (ScheduleStatus.FAILED, 0)
    resumed = failed.resumed(T0 + DAY)
    assert (resumed.status, resumed.progress.next_tick) == (ScheduleStatus.ACTIVE, T0 + DAY + MINUTE)


def test_paused_schedule_has_no_ticks_and_catches_up_with_none() -> None:
    paused = a_schedule(CatchUp.ALL, HOUR).paused()
    assert (paused.status, paused.progress.next_tick) == (ScheduleStatus.PAUSED, 0)
    assert paused.respecified(paused.spec, "bob", None, "", T0).status is ScheduleStatus.PAUSED
    assert paused.resumed(T0 + DAY).progress.next_tick == T0 + DAY + MINUTE


def test_schedule_ends_with_its_last_tick() -> None:
    schedule = a_schedule(timing=replace(EVERY_MINUTE, end=T0 + 30))
    ended = schedule.ran(schedule.due(T0), "run_1")
    assert (ended.status, ended.progress.next_tick) == (ScheduleStatus.ENDED, 0)
    assert ended.resumed(T0 + 1).status is ended.paused().status is ScheduleStatus.ENDED


def test_window_with_too_many_ticks_is_known() -> None:
    assert EVERY_MINUTE.has_more_ticks(int(timedelta(hours=2).total_seconds()), T0)
    assert not EVERY_MINUTE.has_more_ticks(HOUR, T0)
    assert not cron("0 * * * *").has_more_ticks(DAY, T0)
    assert cron("* 3 1 1 *").has_more_ticks(3 * HOUR, T0) is False
    assert cron("* 3-4 1 1 *").has_more_ticks(3 * HOUR, T0)
    assert not cron("0 0 29 2 */7").has_more_ticks(7 * DAY, T0)
