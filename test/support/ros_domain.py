# SPDX-License-Identifier: Apache-2.0
"""A ROS domain that no other pytest worker or test session uses."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

# Domains above 101 use ephemeral ports on Linux; `ros.middleware.isolate` chooses from 50 to 99.
FIRST_DOMAIN, LAST_DOMAIN = 1, 49
_locks: list[IO[bytes]] = []  # locked until this process ends


def lock_domain() -> int:
    """Return a domain that no other process has locked; lock it while this process runs.

    Raises:
        RuntimeError: all domains are in use.
    """
    domains = range(FIRST_DOMAIN, LAST_DOMAIN + 1)
    # A different start each time: killed nodes stay in the graph of their domain for some seconds.
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
