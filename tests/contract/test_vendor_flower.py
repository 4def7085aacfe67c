"""Flower still looks where config/flower.py puts its own way of asking a broker."""

from __future__ import annotations

import inspect

import flower
import pytest
from flower import command, urls
from flower.utils import broker


class Replacement:
    """Stands where config/flower.py puts its own."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def test_the_installed_version_is_one_whose_internals_are_known():
    major, minor = (int(part) for part in flower.__version__.split(".")[:2])

    assert (2, 0) <= (major, minor) < (2, 3), f"Flower {flower.__version__}: read config/flower.py first"


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("RabbitMQ", "amqp"),
        ("RabbitMQ", "amqps"),
        ("Redis", "redis"),
        ("RedisSsl", "rediss"),
        ("RedisSocket", "redis+socket"),
        ("RedisSentinel", "sentinel"),
    ],
)
def test_flower_takes_the_broker_from_its_module(monkeypatch, name: str, scheme: str) -> None:
    monkeypatch.setattr(broker, name, Replacement)

    made = broker.Broker(f"{scheme}://localhost", http_api=None, broker_options={}, broker_use_ssl=None)

    assert isinstance(made, Replacement), f"Flower no longer makes flower.utils.broker.{name}"


def test_flower_hands_its_settings_to_tornado():
    assert command.settings is urls.settings


def test_flower_awaits_the_queues_of_a_broker():
    assert inspect.iscoroutinefunction(broker.BrokerBase.queues)
    assert list(inspect.signature(broker.BrokerBase.queues).parameters) == ["self", "names"]
