"""What Prometheus reads of a server at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PIXELS = tuple(4**n for n in range(6, 15))  # from 64x64 to 16384x16384


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = at = CollectorRegistry()
        ProcessCollector(registry=at)
        GCCollector(registry=at)
        self.requests = Counter("cyclegan_requests", "Requests by path and status.", ["path", "status"], registry=at)
        self.seconds = Histogram(
            "cyclegan_request_seconds", "Time from request to answer.", ["path"], buckets=SECONDS, registry=at
        )
        self.stage_seconds = Histogram(
            "cyclegan_stage_seconds", "Time of an image in each stage.", ["stage"], buckets=SECONDS, registry=at
        )
        self.waiting = Gauge("cyclegan_queue_length", "Images that wait for their turn.", registry=at)
        self.running = Gauge("cyclegan_images_running", "Images decoded, translated or encoded now.", registry=at)
        self.batch_size = Histogram(
            "cyclegan_batch_images", "Images that were translated at once.", buckets=range(1, 17), registry=at
        )
        self.pixels = Histogram("cyclegan_image_pixels", "Pixels of the results.", buckets=PIXELS, registry=at)

    def text(self) -> bytes:
        """All values, in Prometheus' text format."""
        return generate_latest(self.registry)
