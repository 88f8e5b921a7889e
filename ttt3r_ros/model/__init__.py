# SPDX-License-Identifier: Apache-2.0
"""The network in PyTorch, without time stamps and image streams."""

import os

# OpenMP reads this once, when torch is loaded. Long spinning starves the node's other threads on small machines;
# immediate sleep costs hundreds of wake-ups per frame. So threads spin for some microseconds, then sleep.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
