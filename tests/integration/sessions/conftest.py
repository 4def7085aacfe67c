"""A thread of Ada's with a session."""

from __future__ import annotations

import pytest

from tests.support.session_talk import Talk
from tests.support.web import Client
from web.core import Core


@pytest.fixture
def talk(ada: Client, core: Core) -> Talk:
    return Talk(ada, core)
