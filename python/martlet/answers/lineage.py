"""What was made from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from martlet.answers.base import Answer, many


@dataclass(frozen=True)
class LineageNode(Answer):
    id: str
    kind: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LineageEdge(Answer):
    """`to` was made from `source`, which it uses as `role`."""

    source: str = field(metadata={"name": "from"})
    to: str
    role: str


@dataclass(frozen=True)
class Lineage(Answer):
    """A graph; each node comes after what it was made from."""

    root: str
    direction: str
    nodes: tuple[LineageNode, ...] = field(metadata=many(LineageNode), default=())
    edges: tuple[LineageEdge, ...] = field(metadata=many(LineageEdge), default=())

    def node(self, name: str) -> LineageNode:
        """The node with that id, or with that name where it is one only."""
        found = [node for node in self.nodes if name in (node.id, node.name)]
        if len(found) != 1:
            known = ", ".join(node.id for node in found or self.nodes)
            raise KeyError(f"'{name}' is {'not one node' if found else 'no node'}; of: {known}")
        return found[0]
