"""Metrics: each is declared once, in the module whose work it states, and recorded there.

    CALLS = counter("graphmesh.tool.calls", "{call}", "Calls of a tool that have ended", (names.TOOL, names.REASON))
    CALLS.add(1, {names.TOOL: "billing.Refund", names.REASON: ""})

Without a recorder, as in clients and in tests, recording costs a comparison.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Attributes = Mapping[str, str]
"""Values of all attributes of the instrument, by their names in `names`."""
Observation = tuple[float, Attributes]
Observe = Callable[[], Iterable[Observation]]
"""Returns the present values of a gauge."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
"""Upper bounds of the buckets of durations."""
MAX_VALUES = 100
"""The most values of an attribute that clients and graphs choose, in a process; the rest is counted under `OTHER`."""
MAX_SERIES = 2000
"""The most combinations of values of an instrument, in a process."""
OTHER = "other"
UNITS = {"s": "_seconds", "By": "_bytes", "USD": "_usd"}
"""The suffixes of names by their units; others have none."""


@dataclass(frozen=True)
class Instrument:
    """What a metric is. `CATALOG` has all of a process."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    """In UCUM: `s`, `By`, `{run}`; https://ucum.org."""
    description: str
    attributes: Sequence[str] = ()
    buckets: Sequence[float] = ()


CATALOG: dict[str, Instrument] = {}


class Recorder(Protocol):
    """Whatever exports the metrics of a process."""

    def add(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None: ...

    def record(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None: ...

    def observe(self, instrument: Instrument, observe: Observe, /) -> Callable[[], None]:
        """Returns what ends it."""


_recorder: Recorder | None = None


def use(recorder: Recorder | None) -> None:
    """Export the metrics of this process by `recorder`; None: by nothing."""
    global _recorder
    _recorder = recorder


@dataclass(frozen=True)
class Counter:
    instrument: Instrument

    def add(self, value: float, attributes: Attributes) -> None:
        if _recorder is not None:
            _recorder.add(self.instrument, value, attributes)


@dataclass(frozen=True)
class Histogram:
    instrument: Instrument

    def record(self, value: float, attributes: Attributes) -> None:
        if _recorder is not None:
            _recorder.record(self.instrument, value, attributes)


@dataclass(frozen=True)
class Gauge:
    instrument: Instrument

    def observe(self, observe: Observe) -> Callable[[], None]:
        """Call `observe` whenever the metrics of the process are read, until what is returned is called.

        It is called in any thread and may not block.
        """
        return (lambda: None) if _recorder is None else _recorder.observe(self.instrument, observe)


def counter(name: str, unit: str, description: str, attributes: Sequence[str] = ()) -> Counter:
    return Counter(_declared(Instrument(name, "counter", unit, description, attributes)))


def histogram(
    name: str, unit: str, description: str, attributes: Sequence[str] = (), buckets: Sequence[float] = SECONDS
) -> Histogram:
    return Histogram(_declared(Instrument(name, "histogram", unit, description, attributes, buckets)))


def gauge(name: str, unit: str, description: str, attributes: Sequence[str] = ()) -> Gauge:
    return Gauge(_declared(Instrument(name, "gauge", unit, description, attributes)))


def _declared(instrument: Instrument) -> Instrument:
    if CATALOG.setdefault(instrument.name, instrument) != instrument:
        raise ValueError(f"{instrument.name} is declared twice, in different ways")
    return instrument


def prometheus_name(instrument: Instrument) -> str:
    """Return the name of a metric in Prometheus; that of a counter gets `_total` there."""
    return label_name(instrument.name) + UNITS.get(instrument.unit, "")


def label_name(attribute: str) -> str:
    """Return the name of an attribute, or of a metric, in Prometheus."""
    return attribute.replace(".", "_")
