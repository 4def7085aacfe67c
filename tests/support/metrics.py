"""What /metrics says, read as Prometheus reads it."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""By name and sorted labels."""


def samples(client: Any) -> Samples:
    """All that the web process of this client answers."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def figure(client: Any, name: str, **labels: str) -> float:
    """The sum of the samples ``branchline_<name>`` with these labels, and any others; there must be one."""
    found = [
        value
        for (sample, own), value in samples(client).items()
        if sample == f"branchline_{name}" and labels.items() <= dict(own).items()
    ]
    assert found, f"there is no figure {name} with {labels}"
    return sum(found)
