# SPDX-License-Identifier: Apache-2.0
"""The network in PyTorch. Knows tensors; knows neither time nor streams."""

import os

# OpenMP reads this once, when torch is loaded: spinning threads would starve the node's own on small machines.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
