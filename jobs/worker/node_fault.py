"""The error for a fault of a node, which lets the driver keep shards away from the node."""

import socket

import ray

from pipeline.errors import HostError


class NodeFaultError(HostError):
    """Error of a node that cannot process a shard, although another node may.

    Args:
        reason: Description of the fault, in one line.
        node: Ray's ID of the node.
    """

    def __init__(self, reason: str, node: str) -> None:
        super().__init__(reason, node)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[0])


def to_node_fault(error: Exception) -> NodeFaultError:
    """Return the fault of this process's machine as a `NodeFaultError` with the node's ID."""
    if isinstance(error, NodeFaultError):
        return error
    node = ray.get_runtime_context().get_node_id()
    return NodeFaultError(f"{error} (on {socket.gethostname()})", node)
