"""The check of a definition over the API: what is wrong with it, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.systems import check
from tests.support.web import Client, write_worker


def an(name: str, **more: Any) -> dict[str, Any]:
    """An entity."""
    return {"name": name, "worker_id": "parrot", **more}


def problems(client: Client, *entities: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    body = {"name": "newsroom", "entities": entities, **more}
    answer = client.post("/api/systems/check", json=body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["problems"]
    return found


def told(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["code"], one["severity"], one["path"]) for one in found]


WRITER = an("writer", entry=True, components={"language": "de", "search": True, "cost": 3})
ASKS = {"from": "writer", "to": "critic", "kind": "query"}


def test_a_system_that_is_right_has_no_problem(ada: Client) -> None:
    channels = [
        {
            **ASKS,
            "when": {"contains": "draft"},
            "map": {"content": "Look: {content}", "data": {"a": 1}},
        },
        {
            "from": "critic",
            "with": ["language:de", "cost:3"],
            "pick": "any",
            "kind": "read",
        },
        {"with": ["search"], "to": "critic", "kind": "read", "errors": True},
    ]
    critic = an("critic", mailbox={"size": 5, "when_full": "refuse"}, config={"tone": "terse"})

    assert problems(ada, WRITER, critic, channels=channels, limits={"hops": 3, "time": 0.5}) == []


@pytest.mark.parametrize(
    ("entity", "channel", "expected"),
    [
        (an("writer"), {}, ("duplicate_entity", "error", "entities.2.name")),
        (an("other", worker_id="nobody"), {}, ("unknown_worker", "error", "entities.2.worker_id")),
        (an("other", config={"tone": "loud"}), {}, ("wrong_config", "error", "entities.2.config.tone")),
        (
            an("other", components={"a b": 1}), {}, ("wrong_component", "error", "entities.2.components.a b"),
        ),
        (
            an("other", components={"a": [1]}), {}, ("wrong_component", "error", "entities.2.components.a"),
        ),
        (an("other", accepts={"type": "text"}), {}, ("wrong_schema", "error", "entities.2.accepts")),
        (
            an("other", answers={"title": "x" * 20_000}), {}, ("wrong_schema", "error", "entities.2.answers"),
        ),
        (an("other"), {"to": "nobody"}, ("unknown_entity", "error", "channels.0.to")),
        (an("other"), {"from": None}, ("wrong_ends", "error", "channels.0")),
        (an("other"), {"with": ["search"]}, ("wrong_ends", "error", "channels.0")),
        (an("other"), {"pick": "all"}, ("wrong_ends", "error", "channels.0.pick")),
        (an("other"), {"to": None, "with": ["vision"]}, ("nobody_has", "warning", "channels.0.with")),
        (an("other"), {"when": {"content": 1}}, ("wrong_filter", "error", "channels.0.when.content")),
        (an("other"), {"when": {"contains": ""}}, ("wrong_filter", "error", "channels.0.when.contains")),
        (an("other"), {"map": {"data": []}}, ("wrong_map", "error", "channels.0.map.data")),
        (an("other", accepts={"$ref": "#"}), {}, ("wrong_schema", "error", "entities.2.accepts")),
    ],
    ids=[
        "same name", "worker", "config", "component", "value", "schema", "large schema", "unknown", "one end",
        "three ends", "pick", "nobody", "filter", "text", "map", "slow schema",
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(
    ada: Client,
    entity: dict[str, Any],
    channel: dict[str, Any],
    expected: tuple[str, str, str],
) -> None:
    found = problems(
        ada,
        WRITER,
        an("critic"),
        {**entity, "entry": True},
        channels=[{**ASKS, **channel}],
    )

    also = {"no_way_in"} if expected[0] in ("unknown_entity", "wrong_ends", "nobody_has") else set()
    assert [one for one in told(found) if one[0] not in also] == [expected]


def test_channels_that_are_the_same_and_those_to_too_many_are_refused(ada: Client) -> None:
    found = problems(ada, WRITER, an("critic"), channels=[{**ASKS, "kind": "read"}] * 2)
    assert told(found) == [("duplicate_channel", "error", "channels.1")]

    many = [an(f"e{number}") for number in range(200)]
    to_all = [{"from": "e0", "with": [f"c{number}"], "kind": "read"} for number in range(101)]
    assert told(problems(ada, *many, channels=to_all)) == [("too_large", "error", "channels")]


def test_an_entity_without_a_way_in_is_a_warning(ada: Client) -> None:
    found = problems(ada, WRITER, an("critic"))

    assert told(found) == [("no_way_in", "warning", "entities.1")]
    assert found[0]["message"] == (
        "No channel leads to critic. If it is asked from outside, say so: entry = true."
    )


def test_a_worker_that_cannot_run_now_is_a_warning(worker_folder: Path, ada: Client) -> None:
    write_worker(worker_folder, "asleep", "enabled = false")
    found = problems(ada, an("writer", worker_id="asleep", entry=True))

    assert told(found) == [("worker_unavailable", "warning", "entities.0.worker_id")]


def test_entities_that_ask_each_other_are_named_with_the_way_back(ada: Client) -> None:
    back = {"from": "critic", "with": ["search"], "kind": "query"}
    [found] = problems(ada, WRITER, an("critic"), channels=[ASKS, back])

    assert (found["code"], found["severity"], found["path"]) == (
        "query_cycle",
        "error",
        "channels.1",
    )
    assert found["message"] == (
        "writer and critic ask each other without end. Make a read of critic → writer (channels.1), "
        "or set limits.hops."
    )

    [limited] = problems(ada, WRITER, an("critic"), channels=[ASKS, back], limits={"hops": 6})
    assert (limited["code"], limited["severity"]) == ("query_cycle", "warning")
    assert problems(ada, WRITER, an("critic"), channels=[ASKS, {**back, "kind": "read"}]) == []


def test_an_entity_that_asks_itself_is_a_cycle(ada: Client) -> None:
    [found] = problems(ada, WRITER, channels=[{"from": "writer", "to": "writer", "kind": "query"}])

    assert (found["code"], found["message"].partition(".")[0]) == (
        "query_cycle",
        "writer asks itself without end",
    )


def test_schemas_that_do_not_fit_are_found_unless_the_body_is_changed(
    ada: Client,
) -> None:
    sends = {
        "type": "object",
        "properties": {"data": {"type": "string"}},
        "required": ["data"],
    }
    takes = {
        "type": "object",
        "properties": {"data": {"type": "object"}},
        "required": ["content"],
    }
    entities = ({**WRITER, "answers": sends}, an("critic", accepts=takes))
    found = problems(ada, *entities, channels=[ASKS])

    assert told(found) == [
        ("schema_mismatch", "error", "channels.0"),
        ("schema_mismatch", "warning", "channels.0"),
    ]
    assert [one["message"] for one in found] == [
        "writer → critic: data: string is sent, and object is taken.",
        "writer → critic: content: is required, and need not be sent.",
    ]
    assert problems(ada, *entities, channels=[{**ASKS, "map": {"data": {}}}]) == []


def test_as_many_problems_are_told_as_anybody_reads(ada: Client) -> None:
    warned = [an(f"e{number}") for number in range(check.MOST_PROBLEMS)]
    found = problems(ada, *warned, an("last", worker_id="nobody"))

    assert len(found) == check.MOST_PROBLEMS
    assert (found[0]["code"], found[0]["severity"]) == ("unknown_worker", "error")


def test_a_definition_of_another_form_is_refused(ada: Client) -> None:
    answer = ada.post("/api/systems/check", json={"name": "x", "entities": [an("A B")], "chanels": []})

    assert answer.status_code == 422
    assert {error["path"] for error in answer.json["errors"]} == {
        "entities.0.name",
        "chanels",
    }


def test_schemas_that_take_too_long_are_left(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_SECONDS", 0.0)
    found = problems(ada, WRITER, an("critic", worker_id="nobody"), channels=[ASKS])

    assert told(found) == [("not_checked", "error", "")]
