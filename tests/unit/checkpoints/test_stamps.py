"""Stamps follow those that were read, whatever the wall clock shows."""

import time

from graphmesh_orchestrator.checkpoints.stamps import StampClock


def test_a_stamp_is_higher_than_every_stamp_that_was_read() -> None:
    clock, ahead = StampClock(), time.time_ns() + 3_600 * 10**9
    clock.observe(ahead)
    clock.observe(1)
    assert [clock.next(), clock.next()] == [ahead + 1, ahead + 2]


def test_stamps_increase() -> None:
    clock = StampClock()
    stamps = [clock.next() for _ in range(100)]
    assert stamps == sorted(set(stamps))
