"""How is the server doing, in figures that a machine collects?

Counts what finishes by looking at the log lines on their way, and asks the rooms for the rest when somebody collects.
No label names a deployment: a thousand of them would be a thousand series.
"""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.names import DeploymentName
from runtime.ports import Following, LogEntry, LogQuery, Logs

_BOUNDS = (1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 30_000.0)


class MeteredLogs:
    """Logs, with a look at every finished request that passes."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self.answers = [0] * 10  # by the first digit of the status
        self.times = [0] * (len(_BOUNDS) + 1)
        self.milliseconds = 0.0

    def write(self, name: DeploymentName, entry: LogEntry) -> None:
        """Keep a line."""
        if entry.status is not None and entry.duration is not None:
            self.answers[entry.status // 100 % 10] += 1
            self.milliseconds += entry.duration
            self.times[_place(entry.duration)] += 1
        self._logs.write(name, entry)

    async def read(self, name: DeploymentName, query: LogQuery) -> Sequence[LogEntry]:
        """The newest lines that match."""
        return await self._logs.read(name, query)

    def follow(self, name: DeploymentName, query: LogQuery) -> Following:
        """What matches from now on."""
        return self._logs.follow(name, query)

    async def forget(self, name: DeploymentName) -> None:
        """Remove everything of a deployment."""
        await self._logs.forget(name)


class Figures(Collector):
    """Everything that `/metrics` says."""

    def __init__(self, logs: MeteredLogs, isolates: Callable[[], dict[str, int]], running: Callable[[], int]) -> None:
        self._logs = logs
        self._isolates = isolates
        self._running = running
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> str:
        """The figures in Prometheus's text format."""
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterable[Metric]:
        """One moment's figures."""
        answers = CounterMetricFamily("warren_requests", "Finished requests of deployments", labels=["status"])
        for digit, count in enumerate(self._logs.answers):
            if count:
                answers.add_metric([f"{digit}xx"], count)
        yield answers
        yield self._histogram()
        isolates = GaugeMetricFamily("warren_isolates", "Isolates, by what they do", labels=["state"])
        for state, count in self._isolates().items():
            isolates.add_metric([state], count)
        yield isolates
        yield GaugeMetricFamily("warren_running_calls", "Calls from outside that hold a permit", value=self._running())

    def _histogram(self) -> Metric:
        total, buckets = 0, []
        for bound, count in zip((*_BOUNDS, float("inf")), self._logs.times, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound / 1000), float(total)))
        histogram = HistogramMetricFamily("warren_request_seconds", "From the request to the end of its answer")
        histogram.add_metric([], buckets, self._logs.milliseconds / 1000)
        return histogram


def _place(milliseconds: float) -> int:
    for place, bound in enumerate(_BOUNDS):
        if milliseconds <= bound:
            return place
    return len(_BOUNDS)
