"""A certificate that is its own authority, for a TLS server of a test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def certificate_for(name: str, folder: Path) -> Path:
    """The certificate; its key is in ``key.pem`` beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = folder / "authority.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", folder / "key.pem", "-out", path]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """What a server needs that has this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context
