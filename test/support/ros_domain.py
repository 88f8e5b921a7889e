# SPDX-License-Identifier: Apache-2.0
"""A ROS domain for one test process: neither another pytest worker nor another test session uses it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

# Above 101 the ports of a domain are ephemeral ports on Linux; from 50 on `ros.middleware.isolate` chooses.
FIRST_DOMAIN, LAST_DOMAIN = 1, 49
_locks: list[IO[bytes]] = []  # held until this process ends


def lock_domain() -> int:
    """Return a domain that no other process has locked; lock it while this process runs.

    Raises:
        RuntimeError: all domains are in use.
    """
    domains = range(FIRST_DOMAIN, LAST_DOMAIN + 1)
    # Start somewhere else each time: nodes that were killed stay in the graph of their domain for some seconds.
    offset = (os.getpid() + 7 * len(_locks)) % len(domains)
    for domain in (*domains[offset:], *domains[:offset]):
        lock = (Path(tempfile.gettempdir()) / f"ttt3r_ros_test_domain_{domain}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        return domain
    msg = f"domains {FIRST_DOMAIN} to {LAST_DOMAIN} are all in use by other test sessions"
    raise RuntimeError(msg)
