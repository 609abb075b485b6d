"""A port that nobody else on this machine takes meanwhile."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """Keep a port for servers that come and go; while none listens there, nobody does.

    Linux lets a server listen where a socket is bound that listens to nothing, if both may share the address, and gives
    such a port to nobody who asks for any. Elsewhere it is only a port that was free.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port = int(keeper.getsockname()[1])
        if sys.platform != "linux":
            keeper.close()
        yield port
