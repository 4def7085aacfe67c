"""A feed: what all watchers of a thread share."""

from __future__ import annotations

import pytest

from runtime.events import Cursor
from runtime.stream.entries import Chunk, Entry
from runtime.stream.feed import Feed


@pytest.mark.parametrize(("attempt", "beginning"), [(0, Cursor("e", 13)), (1, None)])
def test_a_run_starts_at_its_acceptance_and_not_at_its_answer(attempt, beginning):
    feed = Feed("t", 10)
    payload = b'{"attempt":%d,"run":{"args":{"attempt":0}}}' % attempt
    feed.start(Cursor("e", 13), Chunk("e", 14, [Entry("e", 14, "run.queued", "r", payload)]))

    assert feed.start_of_run("r") == beginning
