"""What a hostile run at level ``strict`` tries, to reach a network; see ``hostile_acts``."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from hostile_acts import LIBC, act, each, main, perform, syscall  # type: ignore[import-not-found]

__all__ = ["perform"]

Target = dict[str, Any]
GATEWAY = ("127.0.0.1", 3128)
WITHIN = 10.0


def get(url: str, body: bytes | None = None, **headers: str) -> str:
    """What a library gets that knows the proxy by its variables. Raises OSError."""
    request = urllib.request.Request(url, body, headers)  # noqa: S310
    context = ssl.create_default_context(cafile=Path(__file__).with_name("authority.pem"))
    try:
        with urllib.request.urlopen(request, timeout=WITHIN, context=context) as answer:  # noqa: S310
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise PermissionError(error.code, error.read().decode()) from error


def by_hand(request: bytes) -> str:
    """The first line of what the gateway answers. Raises PermissionError where that is a refusal."""
    with socket.create_connection(GATEWAY, WITHIN) as connection:
        connection.sendall(request)
        line = connection.makefile("rb").readline().decode("latin-1")
    if not line.startswith("HTTP/1.1 2"):
        raise PermissionError(1, line)
    return line


def connect(address: Any, family: int = socket.AF_INET, protocol: int = 0) -> str:
    with socket.socket(family, socket.SOCK_STREAM, protocol) as connection:
        connection.settimeout(WITHIN)
        connection.connect(address)
        return str(connection.recv(100))


# ── past the gateway ────────────────────────────────────────────────────────


@act
def connect_to_our_redis(target: Target) -> object:
    return each(lambda host: connect((host, target["redis_port"])), "127.0.0.1", target["own_address"])


@act
def connect_to_our_database(target: Target) -> object:
    return each(lambda host: connect((host, 5432)), "127.0.0.1", target["own_address"])


@act
def connect_to_our_web_process(target: Target) -> object:
    return each(lambda host: connect((host, target["web_port"])), "127.0.0.1", target["own_address"])


@act
def connect_to_the_internet(target: Target) -> object:
    return each(connect, ("192.0.2.1", 443), ("8.8.8.8", 53))


@act
def connect_over_ipv6(target: Target) -> object:
    return each(lambda a: connect(a, socket.AF_INET6), ("::1", target["redis_port"]), ("2001:db8::1", 443))


@act
def connect_over_mptcp(target: Target) -> object:
    return connect(("127.0.0.1", target["redis_port"]), protocol=262)


@act
def connect_over_smc(target: Target) -> object:
    return connect(("127.0.0.1", target["redis_port"]), protocol=256)


@act
def connect_by_sending(target: Target) -> object:
    with socket.socket() as connection:
        return connection.sendto(b"PING\r\n", 0x20000000, ("127.0.0.1", target["redis_port"]))


@act
def connect_by_sending_a_message(target: Target) -> object:
    with socket.socket() as connection:
        return connection.sendmsg([b"PING\r\n"], [], 0x20000000, ("127.0.0.1", target["redis_port"]))


@act
def connect_when_something_is_sent(target: Target) -> object:
    with socket.socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, 30, 1)
        return connection.connect(("127.0.0.1", target["redis_port"]))


@act
def ask_a_name_server(target: Target) -> object:
    return socket.getaddrinfo("example.com", 443)


@act
def send_a_datagram(target: Target) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"x", ("127.0.0.1", 53))


@act
def make_a_raw_socket(target: Target) -> object:
    return each(
        lambda made: socket.socket(*made).fileno(),
        (socket.AF_INET, socket.SOCK_RAW, 1),
        (socket.AF_INET6, socket.SOCK_RAW, 58),
        (socket.AF_PACKET, socket.SOCK_RAW, 0x300),
    )


@act
def make_another_kind_of_socket(target: Target) -> object:
    families = (socket.AF_NETLINK, socket.AF_VSOCK, socket.AF_ALG, socket.AF_CAN, socket.AF_TIPC, 43, 44)
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
    return each(lambda made: socket.socket(*made).fileno(), *((f, k) for f in families for k in kinds))


@act
def make_a_unix_socket(target: Target) -> object:
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    return each(lambda kind: socket.socket(socket.AF_UNIX, kind).fileno(), *kinds)


@act
def send_from_a_pair_of_datagrams(target: Target) -> object:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"x", target["unix_socket"])


@act
def send_from_a_pair_of_streams(target: Target) -> object:
    one, _ = socket.socketpair()
    return each(lambda tried: tried(), lambda: one.connect(target["unix_socket"]), lambda: one.listen())


@act
def listen_for_other_runs(target: Target) -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.listen()


@act
def enter_the_network_of_the_pool(target: Target) -> object:
    def enter(pid: int) -> int:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        return syscall(308 if os.uname().machine == "x86_64" else 268, descriptor, 0x40000000)

    return each(enter, *target["pids"])


@act
def make_a_network(target: Target) -> object:
    if LIBC.unshare(0x10000000 | 0x40000000) != 0:
        raise PermissionError(1, "refused")
    return "made"


@act
def take_the_loopback_down(target: Target) -> object:
    import fcntl

    with socket.socket() as control:
        return fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", b"lo", 0))


# ── through the gateway ─────────────────────────────────────────────────────


@act
def ask_for_a_host_that_is_not_named(target: Target) -> object:
    return each(get, "http://other.example/", "https://other.example/")


@act
def ask_for_a_port_that_is_not_named(target: Target) -> object:
    return by_hand(f"CONNECT localhost:{target['redis_port']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@act
def ask_for_a_name_that_leads_to_this_machine(target: Target) -> object:
    """The name is allowed, and where it leads is not."""
    port = target["web_port"]
    return each(
        by_hand,
        f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        f"GET http://localhost:{port}/healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    )


@act
def ask_for_an_address(target: Target) -> object:
    hosts = (
        "127.0.0.1",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::ffff:127.0.0.1]",
        "0",
        "169.254.169.254",
    )
    return each(by_hand, *(f"CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode() for host in hosts))


@act
def smuggle_a_second_request(target: Target) -> object:
    """Behind a request to the API, whose body ends in two ways."""
    return by_hand(
        b"POST /branchline/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 60\r\n\r\n0\r\n\r\nGET http://other.example/ HTTP/1.1\r\nHost: x\r\n\r\n"
    )


@act
def follow_a_redirect_to_a_host_that_is_not_named(target: Target) -> object:
    return get(f"{target['server']}/redirect")


@act
def find_the_credential(target: Target) -> object:
    def look(path: str) -> str:
        content = Path(path).read_bytes()
        if target["secret"].encode() not in content:
            raise FileNotFoundError(2, "not there")
        return path

    if any(target["secret"] in value for value in os.environ.values()):
        return "in the environment"
    pids = (*target["pids"], os.getppid(), os.getpid())
    return each(look, *(f"/proc/{pid}/environ" for pid in pids))


# ── what must be possible ───────────────────────────────────────────────────


@act
def reach_the_api(target: Target) -> object:
    token = os.environ["BRANCHLINE_RUN_TOKEN"]
    url = f"{os.environ['BRANCHLINE_API_URL']}/worker/runs/{os.environ['BRANCHLINE_RUN_ID']}"
    return json.loads(get(url, Authorization=f"Bearer {token}"))["run"]["id"]


@act
def reach_a_host_that_is_named(target: Target) -> object:
    return get(f"{target['server']}/named")


@act
def use_the_credential(target: Target) -> object:
    key = os.environ["MODEL_API_KEY"]
    return get(f"{os.environ['MODEL_BASE_URL']}/chat", b"{}", Authorization=f"Bearer {key}")


if __name__ == "__main__":
    main()
