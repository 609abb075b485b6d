"""Nodes of a Ray cluster on this machine: says its address, then obeys ``add`` and ``kill``; ends with its input.

The head takes no jobs; each node that is added takes one, and the oldest is killed, as a power cut would.
"""

from __future__ import annotations

import os
import sys
import tempfile

SMALL = {"object_store_memory": 80 * 1024**2}


def main() -> None:
    # Ray has sockets there, whose paths the system wants to be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        run(scratch)


def run(scratch: str) -> None:
    """Run the nodes; what is left of one that was killed stays in ``scratch``."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": scratch}
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - the variable comes first

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quick, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = []
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(wait=False, num_cpus=1, **SMALL))
        else:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        cluster.wait_for_nodes(timeout=300)  # a node that the cluster does not know to be lost may still get actors
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
