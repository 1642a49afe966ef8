"""What a server counts, as Prometheus reads it. No photo's name or content is among it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the histograms' buckets."""
CONTENT_TYPE = CONTENT_TYPE_LATEST
ELSEWHERE = "other"
"""The route of requests that none of ours answers; their paths are the client's words."""


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files
        self.requests = Counter(
            "hemline_requests", "Requests that were answered.", ("route", "status"), registry=registry
        )
        self.in_flight = Gauge("hemline_requests_in_flight", "Requests without an answer.", registry=registry)
        self.waiting = Gauge("hemline_photos_waiting", "Photos that nobody has begun.", registry=registry)
        self.photos = Counter("hemline_photos", "Photos that were answered, failures included.", registry=registry)
        self.failures = Counter("hemline_photo_failures", "Photos that could not be read.", registry=registry)
        self.wait = Histogram(
            "hemline_photo_wait_seconds", "How long a photo waited to be begun.", registry=registry, buckets=SECONDS
        )
        self.answer = Histogram(
            "hemline_predict_seconds",
            "From the head of a request to /v1/predict to its answer, whatever that is.",
            registry=registry,
            buckets=SECONDS,
        )

    def text(self) -> bytes:
        """All figures, in Prometheus' text form (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)
