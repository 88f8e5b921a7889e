# SPDX-License-Identifier: Apache-2.0
"""Check of the address space at the start: the middleware does not report that it has no memory for a message."""

from __future__ import annotations

import resource
from pathlib import Path

from ttt3r_ros.errors import ConfigError

REQUIRED_MIB = 768  # of the first image: measured 700, mostly reserved by threads and the middleware
_MIB = 2**20


def require_address_space() -> None:
    """Raise `ConfigError` if a limit (ulimit -v) leaves too little for the first image."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = pages * resource.getpagesize()
    if limit - used < REQUIRED_MIB * _MIB:
        msg = (
            f"memory is short: the address space is limited to {limit // _MIB} MiB (ulimit -v), the node uses"
            f" {used // _MIB} MiB and the first image needs {REQUIRED_MIB} MiB more; raise the limit"
        )
        raise ConfigError(msg)
