"""An agent of the panel once on a real model, which is small: what holds whatever it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import llama
from tests.support.scripted_agents import asker

pytestmark = [pytest.mark.real_model, pytest.mark.slow]

PASSAGES = [
    {"text": "A lease is a claim. Its pool renews it every second.", "document": "leases.md"},
    {"text": "A worker is a folder with a lease of its own.", "document": "workers.md"},
]


def test_an_answer_of_a_real_model_cites_nothing_that_was_not_given(tmp_path: Path) -> None:
    llama.need()
    with llama.Llama(tmp_path, most=16) as server:
        ask = asker(server.address)
        result = ask("rag_agent", "How often is a lease renewed?", passages=PASSAGES)

    assert result.error is None, result.error
    assert set(map(int, re.findall(r"\[(\d+)\]", result.text))) <= {1, 2}
    assert {source["number"] for source in result.messages[-1].data["sources"]} <= {1, 2}
    assert 0 < result.usage["output_tokens"] <= 16
