"""Metrics for Prometheus: what this process counts, and what the database knows."""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from runtime.events import MESSAGE_DELTA
from runtime.model import Pool, new_id
from runtime.registry import Manifest
from runtime.store import Connection, Database, duties, figures, outbox, pools, runs
from runtime.store.duties import DutyAge
from runtime.store.figures import ByWorker, Figures, Histogram
from runtime.stream import hub
from runtime.stream.entries import EMPTY, Batch, Entry
from runtime.system import clock

_SHARE = 0.01
"""Of the time, that is spent on reading every run."""
_OTHER = "other"
"""The value of a label for whatever is not known here, so that nobody outside can make series."""
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

_REAPS = "Attempts that were lost, and whose runs the reaper took over."
_DURATION = "From the first start of a run to its end."
_WAIT = "From the moment a run was accepted to its first start."
_FIRST_DELTA = "From the moment a run was accepted to the first delta of the text that it has kept."
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """The metrics of this web process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._web = secrets.token_hex(4)
        """What this process is called in the figures that are its own: several may share an address."""
        self._requests = Counter(
            "branchline_http_requests",
            "Requests answered.",
            ["web", "method", "status"],
            registry=self.registry,
        )
        self._latencies = _Latencies()
        self._last: tuple[Batch, float | None] = EMPTY, None

    def answered(self, method: str, status: int) -> None:
        """A request has been answered."""
        self._requests.labels(self._web, method if method in _METHODS else _OTHER, status).inc()

    def delivered(self, batch: Batch) -> None:
        """A batch is being sent to a reader, as it happens; its first entry stands for all.

        Every reader counts, so that the figure shows how long the last one of many waits.
        The same batch goes to all of them, one after the other, and is parsed once.
        """
        if batch is not self._last[0]:
            self._last = batch, _written(batch)
        if (written := self._last[1]) is not None:
            self._latencies.observe(max(0.0, clock.time() - written))

    def render(
        self,
        database: Database,
        workers: Iterable[Manifest],
        lease: float,
        streams: hub.Stats,
        lookups: int,
        ages: Mapping[str, float],
    ) -> bytes:
        """All metrics in Prometheus's text format. Raises StoreUnavailable.

        ``workers``: those that labels may name, with their pools. ``lease``: seconds after
        whose silence a pool counts as gone. ``lookups``: how often this process has asked
        the database whose a credential is. ``ages``: the seconds since the last success of
        each duty of this process.
        """
        labels = _Labels(workers)
        own = [DutyAge("web", "", name, seconds) for name, seconds in ages.items()]
        stored = [*_of_runs(_figures(database), labels), *database.read(_of_now, labels, lease, own)]
        registry = CollectorRegistry()
        own_figures = [*_of_process(self._web, streams, lookups), self._latencies.metric(self._web)]
        registry.register(_Collected([*stored, *own_figures]))
        return generate_latest(self.registry) + generate_latest(registry)


def _figures(database: Database) -> ByWorker:
    """Those that some web process has found; this one finds them again where it is time to."""
    last = database.read(figures.kept)
    claimant = new_id()
    if not last.old or not database.write(figures.claim, claimant):
        return last.figures
    began = time.monotonic()
    found = database.snapshot(figures.find)
    database.write(figures.keep, claimant, found, (time.monotonic() - began) / _SHARE)
    return database.read(figures.kept).figures


def _of_now(c: Connection, labels: _Labels, lease: float, own: list[DutyAge]) -> list[Metric]:
    """What is quickly found, of this moment."""
    ages = [*own, *duties.oldest(c, lease)]
    processes = _of_pools(pools.listing(c, lease))
    return [_of_queues(c, labels), *processes, _of_duties(ages), _of_outbox(outbox.counts(c))]


def _written(batch: Batch) -> float | None:
    """When a pool received the first of these entries from its worker, if that is a delta."""
    first = batch.records[0] if batch.records else None
    if not isinstance(first, Entry) or first.type != MESSAGE_DELTA:
        return None
    try:
        return datetime.fromisoformat(first.fields["at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


class _Labels:
    """What the labels of runs may say: workers that are installed, and their pools."""

    def __init__(self, workers: Iterable[Manifest]) -> None:
        self._pools = {worker.id: worker.pool for worker in workers}

    def worker(self, worker_id: str) -> str:
        """The label of a run's worker."""
        return worker_id if worker_id in self._pools else _OTHER

    def pool(self, name: str) -> str:
        """The label of a run's pool."""
        return name if name in self._pools.values() else _OTHER


class _Latencies:
    """A histogram that costs little to add to: with many readers that is done for each of them."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._counts = [0] * (len(_SECONDS) + 1)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._sum += seconds
        self._counts[bisect_left(_SECONDS, seconds)] += 1

    def metric(self, web: str) -> Metric:
        """As Prometheus reads it, of the process ``web``."""
        metric = HistogramMetricFamily(
            "branchline_delta_latency_seconds",
            "From the moment a pool took a delta from its worker until it is sent to a reader.",
            labels=["web"],
        )
        metric.add_metric([web], _buckets(_SECONDS, accumulate(self._counts)), self._sum)
        return metric


class _Collected:
    """A prometheus_client collector of metrics that have been read already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        yield from self._metrics


def _of_runs(found: ByWorker, labels: _Labels) -> Iterator[Metric]:
    by_label: dict[tuple[str, str], Figures] = defaultdict(Figures)
    for (worker_id, pool), of_worker in found.items():
        by_label[labels.worker(worker_id), labels.pool(pool)] += of_worker
    yield _of_statuses(by_label)
    yield _counter("claims", "Attempts that a pool began.", {of: n.attempts for of, n in by_label.items()})
    yield _counter("reaps", _REAPS, {of: n.reaps for of, n in by_label.items()})
    yield _of_errors(by_label)
    yield _histogram("queue_wait_seconds", _WAIT, {of: n.waits for of, n in by_label.items()})
    yield _histogram("run_duration_seconds", _DURATION, {of: n.durations for of, n in by_label.items()})
    yield _histogram("first_delta_seconds", _FIRST_DELTA, {of: n.first_deltas for of, n in by_label.items()})


def _of_statuses(found: ByWorker) -> Metric:
    metric = GaugeMetricFamily("branchline_runs", "Runs.", labels=["worker", "pool", "status"])
    for of, total in found.items():
        for status, number in total.statuses.items():
            metric.add_metric((*of, status), number)
    return metric


def _of_errors(found: ByWorker) -> Metric:
    """The codes are our own: a worker chooses the text of its error only."""
    metric = CounterMetricFamily(
        "branchline_run_errors", "Runs that ended with an error.", labels=["worker", "pool", "code"]
    )
    for of, total in found.items():
        for code, number in total.errors.items():
            metric.add_metric((*of, code), number)
    return metric


def _counter(name: str, help: str, numbers: Mapping[tuple[str, str], int]) -> Metric:
    metric = CounterMetricFamily(f"branchline_{name}", help, labels=["worker", "pool"])
    for of, number in numbers.items():
        metric.add_metric(of, number)
    return metric


def _histogram(name: str, help: str, found: Mapping[tuple[str, str], Histogram]) -> Metric:
    metric = HistogramMetricFamily(f"branchline_{name}", help, labels=["worker", "pool"])
    for of, one in found.items():
        metric.add_metric(of, _buckets(figures.BOUNDS, one.within), one.microseconds / 1e6)
    return metric


def _buckets(bounds: Iterable[float], within: Iterable[int]) -> list[tuple[str, int]]:
    return list(zip([*(str(float(bound)) for bound in bounds), "+Inf"], within, strict=True))


def _of_queues(c: Connection, labels: _Labels) -> Metric:
    oldest: dict[str, float] = defaultdict(float)
    for pool, seconds in runs.oldest_queued(c).items():
        oldest[labels.pool(pool)] = max(oldest[labels.pool(pool)], seconds)
    age = GaugeMetricFamily(
        "branchline_queue_age_seconds", "How long the oldest queued run has waited.", labels=["pool"]
    )
    for pool, seconds in oldest.items():
        age.add_metric([pool], seconds)
    return age


def _of_outbox(found: Iterable[outbox.Waiting]) -> Metric:
    metric = GaugeMetricFamily(
        "branchline_outbox",
        "What is to happen after commits: due now, or dead, which nobody tries any more.",
        labels=["kind", "state"],
    )
    for waiting in found:
        metric.add_metric([waiting.kind, "due"], waiting.due)
        metric.add_metric([waiting.kind, "dead"], waiting.dead)
    return metric


def _of_pools(found: Iterable[Pool]) -> Iterator[Metric]:
    slots = GaugeMetricFamily("branchline_pool_slots", "Runs a pool can execute at once.", labels=["pool"])
    busy = GaugeMetricFamily("branchline_pool_busy", "Runs a pool executes now.", labels=["pool"])
    dropped = GaugeMetricFamily(
        "branchline_dropped_messages",
        "Messages of the queue that were none of ours, dropped by the pool processes that are alive.",
        labels=["pool"],
    )
    alive: dict[str, list[Pool]] = defaultdict(list)
    for pool in found:
        alive[pool.name] += [pool] if pool.alive else []
    for name, processes in alive.items():
        slots.add_metric([name], sum(pool.slots for pool in processes))
        busy.add_metric([name], sum(pool.busy for pool in processes))
        dropped.add_metric([name], sum(pool.dropped_messages for pool in processes))
    yield from (slots, busy, dropped, _of_sandboxes(alive))


def _of_sandboxes(alive: Mapping[str, Iterable[Pool]]) -> Metric:
    metric = GaugeMetricFamily(
        "branchline_sandbox",
        "Whether a measure of the sandbox is in force for a worker, in all processes of its pool.",
        labels=["worker", "pool", "measure"],
    )
    found: dict[tuple[str, str, str], bool] = {}
    for name, processes in alive.items():
        for pool in processes:
            for worker_id, report in pool.workers.items():
                sandbox = report.get("sandbox") or {"in_force": (), "missing": {}}
                for measure in (*sandbox["in_force"], *sandbox["missing"]):
                    key = worker_id, name, measure
                    found[key] = found.get(key, True) and measure in sandbox["in_force"]
    for labels, in_force in found.items():
        metric.add_metric(labels, in_force)
    return metric


def _of_duties(ages: Iterable[DutyAge]) -> Metric:
    """Its labels are those that our own processes write: no client can add to them."""
    metric = GaugeMetricFamily(
        "branchline_duty_age_seconds",
        "Seconds since a background duty last succeeded, in the process where that is the longest ago.",
        labels=["process", "pool", "duty"],
    )
    for age in ages:
        metric.add_metric([age.kind, age.pool, age.name], age.seconds)
    return metric


def _of_process(web: str, streams: hub.Stats, lookups: int) -> Iterator[Metric]:
    for kind, name, help, value in (
        (GaugeMetricFamily, "open_streams", "Streams open in this process.", streams.streams),
        (GaugeMetricFamily, "watched_threads", "Threads watched by this process.", streams.threads),
        (
            CounterMetricFamily,
            "credential_lookups",
            "Times this process asked the database whose a credential is.",
            lookups,
        ),
        (CounterMetricFamily, "log_reads", "Times this process read event logs.", streams.reads),
    ):
        metric = kind(f"branchline_{name}", help, labels=["web"])
        metric.add_metric([web], value)
        yield metric
