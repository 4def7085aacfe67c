"""The garbage collector while a process starts."""

from __future__ import annotations

import gc

import pytest

from runtime.system import collector


class Thing:
    """Something that the collector can find."""


def test_nothing_is_collected_while_a_process_imports() -> None:
    with collector.paused():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_was_imported_is_never_looked_at_again() -> None:
    with collector.paused():
        imported = Thing()
    made_later = Thing()

    found = [thing for thing in gc.get_objects() if isinstance(thing, Thing)]
    assert (found, imported is made_later) == ([made_later], False)


def test_a_failed_import_leaves_the_collector_at_work() -> None:
    with pytest.raises(ImportError), collector.paused():
        raise ImportError

    assert gc.isenabled()
