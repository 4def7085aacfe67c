"""The package of the panel: packed, installed in an empty project, type-checked, built and loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

import runtime
from runtime.settings import CHECKOUT

pytestmark = pytest.mark.slow

APPLICATION = Path(__file__).parent / "panel" / "application"
UI = CHECKOUT / "web" / "ui"
WITHIN = 240.0
ORIGIN = "http://application.test"
TYPES = {".html": "text/html", ".js": "text/javascript"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball."""
    if not (UI / "node_modules" / ".bin" / "tsc").exists():
        pytest.skip("needs what the browser interface is built with")
    packing = [sys.executable, "config/sdk/pack_panel.py", str(tmp_path_factory.mktemp("packed"))]
    return Path(subprocess.check_output(packing, cwd=CHECKOUT, text=True, timeout=WITHIN).splitlines()[-1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    """An application that has React, and the package by npm."""
    project = tmp_path_factory.mktemp("project")
    for source in APPLICATION.iterdir():
        shutil.copy(source, project)
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    node(project, "npm", "install", "--offline", "--no-save", str(package))
    for name in ("react", "react-dom", "scheduler", "csstype", "@types/react", "@types/react-dom"):
        link = project / "node_modules" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to((UI / "node_modules" / name).resolve())
    return project


def node(project: Path, *command: str | Path) -> None:
    done = subprocess.run(
        [UI / "with-node", *command],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_it_has_the_products_version_and_needs_nothing_but_react(project: Path) -> None:
    installed = project / "node_modules" / "@branchline" / "panel"
    described = json.loads((installed / "package.json").read_text())
    assert described["version"] == runtime.__version__
    assert "dependencies" not in described
    assert described["peerDependenciesMeta"] == {"react": {"optional": True}}
    assert "MIT" in (installed / "THIRD-PARTY-LICENSES.txt").read_text()


def test_what_it_exports_has_types(project: Path) -> None:
    node(project, UI / "node_modules" / ".bin" / "tsc", "-p", ".")


def test_it_is_built_into_an_application_that_shows_its_panels(project: Path, chromium: Browser) -> None:
    node(project, UI / "node_modules" / ".bin" / "vite", "build", "--logLevel", "warn")

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ORIGIN).lstrip("/") or "index.html"
        file = project / "dist" / name
        route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])

    context = chromium.new_context()
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.route("https://agents.example.com/**", lambda route: route.abort())
    page.route(f"{ORIGIN}/**", serve)
    page.goto(ORIGIN)

    expect(page.get_by_role("region", name="Ours")).to_be_visible()
    expect(page.get_by_role("button", name="Open chat")).to_be_visible()
    expect(page.get_by_role("button", name="Ask")).to_be_visible()
    assert page.evaluate("whole.AgentChatPanel === customElements.get('agent-chat-panel')")
    page.wait_for_function("statuses.includes('offline')")
    assert failures == []
    context.close()


def test_without_react_there_is_no_react_in_it(package: Path) -> None:
    with tarfile.open(package) as archive:
        names = [name for name in archive.getnames() if name.endswith(".js") and "react" not in name]
        for name in names:
            file = archive.extractfile(name)
            assert file is not None
            assert b'from "react' not in file.read(), name
