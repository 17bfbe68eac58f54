"""A fault of the node that a process runs on, with the node: the driver keeps shards from it."""

import socket

import ray

from pipeline.errors import HostError


class NodeFaultError(HostError):
    """A node cannot do a shard; another one may.

    Args:
        reason: What is wrong, in one line.
        node: Ray's ID of the node.
    """

    def __init__(self, reason: str, node: str) -> None:
        super().__init__(reason, node)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[0])


def fault_here(error: Exception) -> NodeFaultError:
    """Return a fault of this process's machine as one of its node."""
    if isinstance(error, NodeFaultError):
        return error
    node = ray.get_runtime_context().get_node_id()
    return NodeFaultError(f"{error} (on {socket.gethostname()})", node)
