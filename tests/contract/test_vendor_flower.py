"""Flower still looks where config/flower.py puts its own way of asking RabbitMQ."""

from __future__ import annotations

import inspect

import flower
import pytest
from flower.utils import broker


class Replacement:
    """Stands where config/flower.py puts its own."""

    def __init__(self, url: str, *_: object, **__: object) -> None:
        self.url = url


def test_the_installed_version_is_one_whose_internals_are_known():
    major, minor = (int(part) for part in flower.__version__.split(".")[:2])

    assert (2, 0) <= (major, minor) < (2, 3), f"Flower {flower.__version__}: read config/flower.py first"


def test_flower_takes_the_broker_of_rabbitmq_from_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "RabbitMQ", Replacement)

    made = broker.Broker("amqp://localhost", http_api=None, broker_options={}, broker_use_ssl=None)

    assert isinstance(made, Replacement), "Flower no longer makes flower.utils.broker.RabbitMQ"
    assert made.url == "amqp://localhost"


def test_flower_awaits_the_queues_of_a_broker():
    assert inspect.iscoroutinefunction(broker.BrokerBase.queues)
    assert list(inspect.signature(broker.BrokerBase.queues).parameters) == ["self", "names"]
