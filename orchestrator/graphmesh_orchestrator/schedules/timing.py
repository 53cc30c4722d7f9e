"""The times of a schedule's ticks: moments in whole seconds since 1970."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.resources import files
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

CRON_FIELDS = 5
MAX_TIME = 253_402_300_799
"""The end of the year 9999."""
MAX_WINDOW_TICKS = 100
"""The most ticks that a schedule may catch up with."""
CHECKED_TICKS, CHECKED_SECONDS = 1000, 32 * 86400
"""The ticks, and their time, among which `MAX_WINDOW_TICKS` is checked: a pattern repeats each month, or is rare."""


@dataclass(frozen=True)
class Timing:
    """A cron expression in a time zone, or an interval from `start` on; ticks are from `start` to `end`."""

    cron: str
    """Empty where there is an interval."""
    time_zone: str
    """Empty for UTC."""
    interval: int
    """Seconds; 0 where there is a cron expression."""
    start: int
    end: int
    """0: none."""

    def after(self, moment: float) -> int | None:
        """Return the first tick later than `moment`; None where there is none."""
        tick = next(self._later(max(moment, self.start - 1)), None)
        return tick if tick is not None and tick <= (self.end or MAX_TIME) else None

    def last(self, moment: float, tick: int) -> int:
        """Return the last tick that is not later than `moment`, given one such `tick`."""
        if self.interval:
            return tick + int((min(moment, self.end or MAX_TIME) - tick) // self.interval) * self.interval
        found = max(tick, self._before(min(moment, self.end or MAX_TIME)) or tick)
        while (following := self.after(found)) is not None and following <= moment:
            found = following
        return found

    def ticks(self, moment: float) -> Iterator[int]:
        """Yield the ticks later than `moment`."""
        tick = self.after(moment)
        while tick is not None:
            yield tick
            tick = self.after(tick)

    def has_more_ticks(self, window: int, moment: float) -> bool:
        """Whether more than `MAX_WINDOW_TICKS` of the next ticks are within `window` seconds."""
        first = self.after(moment) or 0
        ticks = list(islice(takewhile(lambda tick: tick < first + CHECKED_SECONDS, self.ticks(moment)), CHECKED_TICKS))
        spans = zip(ticks, ticks[MAX_WINDOW_TICKS:], strict=False)
        return any(last - first <= window for first, last in spans)

    def _later(self, moment: float) -> Iterator[int]:
        if self.interval:
            passed = max(0, math.floor((moment - self.start) / self.interval) + 1)
            yield self.start + passed * self.interval
            return
        try:
            for at in CronSim(self.cron, datetime.fromtimestamp(math.floor(moment), self._zone)):
                # Where clocks are set back, CronSim may return a moment of the first pass after one of the second.
                if at.timestamp() > moment:
                    yield int(at.timestamp())
        except (OverflowError, ValueError):  # the year 10000
            return

    def _before(self, moment: float) -> int | None:
        """Return a tick before or at `moment`, the last one but where clocks are set back."""
        begin = datetime.fromtimestamp(math.floor(moment) + 1, self._zone)
        at = next(CronSim(self.cron, begin, reverse=True), None)
        return int(at.timestamp()) if at is not None and self.start <= at.timestamp() <= moment else None

    @property
    def _zone(self) -> tzinfo:
        return ZoneInfo(self.time_zone) if self.time_zone else UTC


def cron_violation(cron: str) -> str:
    """Return the rule that a cron expression breaks; empty for none."""
    if len(cron.split()) != CRON_FIELDS:
        return "has to have five fields: minute, hour, day of month, month, day of week"
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as error:
        return f"is no cron expression: {str(error)[:1].lower()}{str(error)[1:]}"
    return ""


@cache
def time_zones() -> frozenset[str]:
    """The names of time zones, the same on each machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())
