"""Metrics of the processes of a mesh on this machine, as they serve them to Prometheus, and of its Envoy."""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from graphmesh_local.probes import NOT_READY_ERRORS, http_get
from graphmesh_local.state_folder import MeshState

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Samples:
    """The values that processes had at one time, by the names of Prometheus."""

    found: Mapping[str, Sequence[tuple[Labels, float]]] = field(default_factory=dict)

    @classmethod
    def parsed(cls, texts: Iterable[str]) -> "Samples":
        found: dict[str, list[tuple[Labels, float]]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return cls(found)

    def sum(self, name: str, **labels: str) -> float:
        return sum(self._values(name, labels))

    def max(self, name: str) -> float:
        """Return the greatest value: of what each process reads from one database."""
        return max(self._values(name, {}), default=0.0)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return sums by the values of a label."""
        sums: dict[str, float] = {}
        for own, value in self.found.get(name, ()):
            if labels.items() <= own.items() and label in own:
                sums[own[label]] = sums.get(own[label], 0.0) + value
        return sums

    def quantile(self, name: str, share: float, **labels: str) -> float:
        """Return a quantile of a histogram, within a bucket by its width as Prometheus has it; NaN without values."""
        counts = {float(bound): count for bound, count in self.by(f"{name}_bucket", "le", **labels).items()}
        bounds = sorted(counts)
        total = counts[bounds[-1]] if bounds else 0.0
        if not total:
            return math.nan
        below, start = 0.0, 0.0
        for bound in bounds:
            if counts[bound] >= share * total:
                if math.isinf(bound):
                    return start
                return start + (bound - start) * (share * total - below) / (counts[bound] - below)
            below, start = counts[bound], bound
        return start

    def _values(self, name: str, labels: Mapping[str, str]) -> list[float]:
        return [value for own, value in self.found.get(name, ()) if labels.items() <= own.items()]


@dataclass(frozen=True)
class Replicas:
    """The replicas of a service, as Envoy sees them."""

    healthy: int
    total: int
    ejected: int
    """Those that its circuit breaker has taken out."""


@dataclass(frozen=True)
class MeshMetrics:
    """What is known of a mesh at one time."""

    samples: Samples
    by_service: Mapping[str, Samples]
    replicas: Mapping[str, Replicas]
    """By service; empty where Envoy does not answer."""
    unreachable: Sequence[str]
    """Processes whose metrics could not be read."""


async def read_metrics(mesh: MeshState) -> MeshMetrics:
    """Read the metrics of all processes and of Envoy, side by side."""
    addresses = {name: one.metrics for name, one in mesh.processes.items() if one.metrics}
    texts = await asyncio.gather(*(_read(f"http://{address}/metrics") for address in addresses.values()))
    found = {name: text for name, text in zip(addresses, texts, strict=True) if text is not None}
    services = {name: [one for one in found if service_of(one, mesh) == name] for name in mesh.services}
    return MeshMetrics(
        samples=Samples.parsed(found.values()),
        by_service={name: Samples.parsed(found[one] for one in own) for name, own in services.items()},
        replicas=await _replicas(mesh),
        unreachable=[name for name in mesh.processes if name not in found and name != "envoy"],
    )


def service_of(process: str, mesh: MeshState) -> str:
    """Return the service of a process: `billing` of `billing-2`."""
    return process if process in mesh.services else process.rpartition("-")[0]


async def _read(url: str) -> str | None:
    try:
        return (await http_get(url)).body
    except NOT_READY_ERRORS:
        return None


async def _replicas(mesh: MeshState) -> dict[str, Replicas]:
    counters = "membership_(healthy|total)|outlier_detection.ejections_active"
    text = await _read(f"http://{mesh.admin}/stats?filter=^cluster\\..*({counters})$")
    lines = (line.partition(": ") for line in (text or "").splitlines())
    counts = {key: int(value) for key, _, value in lines if value}
    return {
        name: Replicas(
            healthy=counts.get(f"cluster.{name}.membership_healthy", 0),
            total=counts[f"cluster.{name}.membership_total"],
            ejected=counts.get(f"cluster.{name}.outlier_detection.ejections_active", 0),
        )
        for name in mesh.services
        if f"cluster.{name}.membership_total" in counts
    }
