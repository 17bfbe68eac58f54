"""Ray label selectors that keep tasks and actors on nodes or away from them."""

from collections.abc import Collection


def select_node(node: str) -> dict[str, str]:
    """Return the label selector that restricts a task or an actor to a node.

    Args:
        node: ID of the node.
    """
    return {"ray.io/node-id": node}


def exclude_nodes(nodes: Collection[str]) -> dict[str, str]:
    """Return the label selector that keeps a task or an actor away from nodes.

    Args:
        nodes: IDs of the nodes; at least one.
    """
    return {"ray.io/node-id": f"!in({','.join(sorted(nodes))})"}
