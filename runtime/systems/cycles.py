"""Cycles of a directed graph: which of its nodes reach each other, and which edges close a circle.

Both go through the graph without recursion: a chain of entities may be longer than Python's stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

Node = TypeVar("Node", bound=Hashable)
Graph = Mapping[Node, Iterable[Node]]
"""Each node → those that an edge leads to. A node that is only led to may be left out."""


def components(graph: Graph[Node]) -> list[list[Node]]:
    """The strongly connected components: the largest sets whose nodes all reach each other.

    By R. Tarjan, Depth-First Search and Linear Graph Algorithms (1972).
    """
    search = _Search(graph)
    for node in graph:
        if node not in search.number:
            search.visit(node)
    return search.found


def cycles(graph: Graph[Node]) -> list[list[Node]]:
    """The components in which one comes back to where one was, an edge of a node to itself included."""
    return [found for found in components(graph) if len(found) > 1 or found[0] in graph.get(found[0], ())]


def closing_edges(graph: Graph[Node], start: Sequence[Node] = ()) -> list[tuple[Node, Node]]:
    """Edges without which the graph has no cycle: those that lead back to a node on the way to them.

    ``start``: where ways begin, if these are nodes; then anywhere.
    """
    found: list[tuple[Node, Node]] = []
    left: set[Node] = set()
    """Nodes all ways from which have been gone."""
    for node in (*(node for node in start if node in graph), *graph):
        if node in left:
            continue
        way = {node: iter(graph.get(node, ()))}
        while way:
            here, ahead = next(reversed(way.items()))
            following = next(ahead, None)
            if following is None:
                left.add(here)
                del way[here]
            elif following in way:
                found.append((here, following))
            elif following not in left:
                way[following] = iter(graph.get(following, ()))
    return found


class _Search(Generic[Node]):
    """A depth-first search, with what Tarjan's algorithm keeps of it."""

    def __init__(self, graph: Graph[Node]) -> None:
        self._graph = graph
        self.found: list[list[Node]] = []
        self.number: dict[Node, int] = {}
        """In which order nodes were reached."""
        self._lowest: dict[Node, int] = {}
        """The lowest number that a node is known to lead back to, of those that are in no component yet."""
        self._open: list[Node] = []
        """Nodes that are in no component yet, in the order of their numbers."""
        self._is_open: set[Node] = set()

    def visit(self, node: Node) -> None:
        """Find the components of all that can be reached from a node, and was not."""
        way: list[tuple[Node, Iterator[Node]]] = [self._enter(node)]
        while way:
            here, ahead = way[-1]
            for following in ahead:
                if following not in self.number:
                    way.append(self._enter(following))
                    break
                if following in self._is_open:
                    self._lowest[here] = min(self._lowest[here], self.number[following])
            else:
                way.pop()
                self._leave(here, way[-1][0] if way else None)

    def _enter(self, node: Node) -> tuple[Node, Iterator[Node]]:
        self.number[node] = self._lowest[node] = len(self.number)
        self._open.append(node)
        self._is_open.add(node)
        return node, iter(self._graph.get(node, ()))

    def _leave(self, node: Node, before: Node | None) -> None:
        if before is not None:
            self._lowest[before] = min(self._lowest[before], self._lowest[node])
        if self._lowest[node] < self.number[node]:
            return
        component = [self._open.pop()]
        while component[-1] != node:
            component.append(self._open.pop())
        self._is_open.difference_update(component)
        self.found.append(component)
