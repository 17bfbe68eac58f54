"""Nodes of a Ray cluster, as its scheduler is told of them."""

from collections.abc import Collection


def only(node: str) -> dict[str, str]:
    """Return the label selector that keeps a task or an actor on a node.

    Args:
        node: ID of the node.
    """
    return {"ray.io/node-id": node}


def without(nodes: Collection[str]) -> dict[str, str]:
    """Return the label selector that keeps a task or an actor away from nodes.

    Args:
        nodes: IDs of the nodes; at least one.
    """
    return {"ray.io/node-id": f"!in({','.join(sorted(nodes))})"}
