# SPDX-License-Identifier: Apache-2.0
"""The network in PyTorch. Knows tensors; knows neither time nor streams."""

import os

# OpenMP reads this once, when torch is loaded. Threads that spin for long starve the node's own on small machines; ones
# that sleep at once are woken hundreds of times a frame. So they spin for some microseconds, then sleep.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
