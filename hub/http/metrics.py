"""The hub's counters in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.info import HubStats
from hub.lifecycle import State

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _HubCollector(Collector):
    """Tells one snapshot: the registry is made for each scrape, since the counters live with the hub and not here."""

    def __init__(self, stats: HubStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        info = InfoMetricFamily("modhub", "The hub's version, and this run of it.")
        info.add_metric([], {"version": stats.version, "run_id": stats.run_id})
        yield info
        yield GaugeMetricFamily("modhub_start_time_seconds", "When the hub started.", stats.started_at)
        yield GaugeMetricFamily("modhub_resident_memory_bytes", "The hub's own resident memory.", stats.memory_bytes)
        yield CounterMetricFamily("modhub_cpu_seconds", "The hub's own processor time.", stats.cpu_s)
        # All states always: a series that comes and goes can't be alerted on.
        states = {state.value: 0 for state in State} | dict(stats.states)
        yield _gauges("modhub_modules", "Tracked modules.", "state", states)
        yield GaugeMetricFamily("modhub_modules_dirty", "Modules whose data is dirty.", stats.dirty)
        running = {"running": stats.operations_running, "waiting": stats.operations_waiting}
        yield _gauges("modhub_operations_open", "Operations that run, or wait for their module.", "status", running)
        ended = CounterMetricFamily("modhub_operations", "Ended operations.", labels=("operation", "outcome"))
        for operation, outcomes in stats.operations.items():
            for outcome, count in outcomes.items():
                ended.add_metric((operation, outcome), count)
        yield ended
        events = CounterMetricFamily("modhub_events", "Events.", labels=("event",))
        for name, count in stats.events.items():
            events.add_metric((name,), count)
        yield events
        yield CounterMetricFamily("modhub_uploaded_bytes", "Bytes sent to the backend.", stats.uploaded_bytes)
        yield CounterMetricFamily("modhub_downloaded_bytes", "Bytes hydrated from the backend.", stats.downloaded_bytes)
        yield GaugeMetricFamily("modhub_backend_available", "Whether the backend is in use.", stats.backend.available)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def metrics_text(stats: HubStats) -> bytes:
    """Return the counters as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_HubCollector(stats))
    return generate_latest(registry)
