"""Epochs and leases of calls as values."""

from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import InvalidMetadata

MAX_DIGITS = 18
"""As many as surely fit a signed 64-bit integer of a database."""


class Epoch(int):
    """The fencing token of a run's lease: 1 for the first worker, one more with each takeover, 0 before the first.

    An `int` to JSON and databases, and its decimal digits in metadata.
    """

    __slots__ = ()

    @classmethod
    def of(cls, headers: metadata.Metadata) -> "Epoch | None":
        """Read the epoch of a call; None for calls outside of runs.

        Raises:
            InvalidMetadata: it is not a number, too long, or comes without the run.
        """
        text = metadata.text(headers, metadata.EPOCH)
        if not text:
            return None
        is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        if not (is_number and metadata.text(headers, metadata.RUN)):
            rule = f"a whole number of {MAX_DIGITS} digits at the most, with {metadata.RUN}"
            raise InvalidMetadata(header=metadata.EPOCH, rule=rule)
        return cls(text)

    def next(self) -> "Epoch":
        """The epoch of the next takeover."""
        return Epoch(self + 1)


MAX_LEASE_DIGITS = 9


def lease_of(headers: metadata.Metadata) -> Deadline | None:
    """Read the lease of a call, as a deadline that counts from now; None where the caller states none.

    Raises:
        InvalidMetadata: it is not a number of milliseconds.
    """
    text = metadata.text(headers, metadata.LEASE)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_LEASE_DIGITS):
        rule = f"a whole number of milliseconds, of {MAX_LEASE_DIGITS} digits at the most"
        raise InvalidMetadata(header=metadata.LEASE, rule=rule)
    return Deadline.after(int(text) / 1000)
