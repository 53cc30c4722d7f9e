"""Stamps that order the rows of a thread: a logical clock, since the clocks of processes differ and jump.

L. Lamport, Time, Clocks, and the Ordering of Events in a Distributed System, CACM 21(7), 1978: what a process writes
after it has read a row has a higher stamp than that row.
"""

import time


class StampClock:
    """The clock of one process, in nanoseconds since 1970 or ahead of that."""

    def __init__(self) -> None:
        self._newest = 0

    def observe(self, stamp: int) -> None:
        """Let all further stamps be higher than one that was read."""
        self._newest = max(self._newest, stamp)

    def next(self) -> int:
        self._newest = max(time.time_ns(), self._newest + 1)
        return self._newest


STAMPS = StampClock()
