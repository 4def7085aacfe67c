"""Strongly connected components, and the edges that close cycles, as networkx sees them."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from runtime.systems import cycles

GRAPHS, SEED = 1000, 17


def random_graph(random: random.Random) -> dict[int, list[int]]:
    """Sparse, dense, or one node: with edges of a node to itself, and nodes that are only led to."""
    nodes = random.randint(1, 30)
    edges = random.randint(0, random.choice([nodes, 3 * nodes, nodes * nodes]))
    graph: dict[int, list[int]] = {}
    for _ in range(edges):
        sender, to = random.randrange(nodes), random.randrange(nodes)
        if to not in graph.setdefault(sender, []):
            graph[sender].append(to)
    return graph


def as_networkx(graph: dict[int, list[int]]) -> nx.DiGraph:
    return nx.DiGraph((sender, to) for sender, others in graph.items() for to in others)


@pytest.fixture(scope="module")
def graphs() -> list[dict[int, list[int]]]:
    chance = random.Random(SEED)
    return [random_graph(chance) for _ in range(GRAPHS)]


def test_components_are_those_of_networkx(graphs: list[dict[int, list[int]]]) -> None:
    for graph in graphs:
        found = sorted(map(sorted, cycles.components(graph)))
        assert found == sorted(map(sorted, nx.strongly_connected_components(as_networkx(graph)))), graph


def test_cycles_are_the_components_that_lead_back(
    graphs: list[dict[int, list[int]]],
) -> None:
    for graph in graphs:
        known = as_networkx(graph)
        circles = {node for circle in cycles.cycles(graph) for node in circle}
        assert circles == {node for node in known if known.has_edge(node, node) or _leads_back(known, node)}


def _leads_back(graph: nx.DiGraph, node: int) -> bool:
    return any(node in nx.descendants(graph, other) for other in nx.descendants(graph, node))


def test_nothing_leads_back_without_the_edges_that_close_cycles(
    graphs: list[dict[int, list[int]]],
) -> None:
    for graph in graphs:
        known = as_networkx(graph)
        closing = cycles.closing_edges(graph)
        assert bool(closing) == bool(cycles.cycles(graph))
        known.remove_edges_from(closing)
        assert nx.is_directed_acyclic_graph(known), graph


def test_a_long_chain_needs_no_stack() -> None:
    length = 50_000
    graph = {node: [(node + 1) % length] for node in range(length)}

    assert [len(found) for found in cycles.components(graph)] == [length]
    assert cycles.closing_edges(graph) == [(length - 1, 0)]


def test_ways_begin_where_they_are_said_to() -> None:
    circle = {"a": ["b"], "b": ["c"], "c": ["a"]}

    assert cycles.closing_edges(circle) == [("c", "a")]
    assert cycles.closing_edges(circle, ["b", "nowhere"]) == [("a", "b")]
