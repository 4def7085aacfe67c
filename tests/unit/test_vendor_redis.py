"""What runtime/stream/connection.py uses of redis-py beyond its documented interface.

If one of these fails after an upgrade, redis-py has changed: read the new version, adapt
runtime/stream/connection.py, and then this list.
"""

from __future__ import annotations

import inspect

import pytest
import redis
from redis.connection import Connection, ConnectionPool
from redis.sentinel import Sentinel

CHANGED = f"redis-py {redis.__version__} has changed what runtime/stream/connection.py relies on"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (ConnectionPool.reset, ["self"]),
        (ConnectionPool.get_connection, ["self", "command_name", "keys", "options"]),
        (ConnectionPool.release, ["self", "connection"]),
        (ConnectionPool._checkpid, ["self"]),
        (Connection.can_read, ["self", "timeout"]),
        (Connection._connect, ["self"]),
        (Connection.on_connect, ["self"]),
        (Connection.pack_command, ["self", "args"]),
        (Connection.send_command, ["self", "args", "kwargs"]),
        (Sentinel.discover_master, ["self", "service_name"]),
        (Sentinel.check_master_state, ["self", "state", "service_name"]),
    ],
)
def test_redis_py_keeps_the_parameters_of_a_method_that_we_call_or_override(function, parameters):
    assert list(inspect.signature(function).parameters) == parameters, CHANGED


def test_redis_py_can_wait_for_a_reply_without_disconnecting_after_it():
    parameters = inspect.signature(Connection.read_response).parameters
    assert {"timeout", "disconnect_on_error"} <= parameters.keys(), CHANGED


def test_redis_py_keeps_the_attributes_of_a_connection_and_a_pool():
    pool = ConnectionPool(max_connections=3, driver_info=None)
    connection = pool.connection_class(**pool.connection_kwargs)

    assert pool._available_connections == [], CHANGED
    assert pool.max_connections == 3, CHANGED
    assert connection.pid == pool.pid, CHANGED
    assert connection._sock is None, CHANGED
    assert connection.is_connected is False, CHANGED


def test_redis_py_resets_a_pool_when_it_is_made():
    """Our pool makes its slots in ``reset``, at the start and in a forked child."""
    resets = []

    class Pool(ConnectionPool):
        def reset(self):
            resets.append(self)
            super().reset()

    pool = Pool()
    assert resets == [pool], CHANGED
    pool.pid = -1  # as in a child
    pool._checkpid()
    assert resets == [pool, pool], CHANGED


def test_redis_py_packs_what_scripts_are_given():
    packed = b"".join(Connection().pack_command("EVALSHA", b"sha", 1, "key", "", b"\x00", "\u2028"))
    assert packed == (
        b"*7\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n1\r\n$3\r\nkey\r\n$0\r\n\r\n"
        b"$1\r\n\x00\r\n$3\r\n\xe2\x80\xa8\r\n"
    ), CHANGED
