"""nginx with the configuration of the page on deployment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "how-to" / "deploy.md"
NONE = "There is no nginx: install one (Debian: apt install nginx-light)"


def configuration(port: int, webs: tuple[int, int], certificate: Path, flower: int = 0) -> str:
    """That of the page, word for word but for addresses and files of this machine.

    With the port of ``flower`` the one for an installation below /branchline.
    """
    found, locations = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if flower:
        head, _, _ = found.partition("    location")
        found = f"{head}{locations}}}\n".replace("10.0.0.13:5555", f"127.0.0.1:{flower}")
    here = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "10.0.0.11:8000": f"127.0.0.1:{webs[0]}",
        "10.0.0.12:8000": f"127.0.0.1:{webs[1]}",
        "/etc/ssl/chat.example.com/certificate.pem": str(certificate),
        "/etc/ssl/chat.example.com/key.pem": str(certificate.with_name("key.pem")),
        "server_name chat.example.com;": "server_name localhost;",
    }
    for there, ours in here.items():
        assert there in found, there
        found = found.replace(there, ours)
    return found


@contextmanager
def nginx(folder: Path, server: str) -> Iterator[None]:
    """nginx with that server; skips the test where there is none."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NONE)
        pytest.skip(NONE)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\nworker_processes 2;\ndaemon off;\n"
        f"pid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{temporary}{server}}}\n"
    )
    with open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(file)], stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
