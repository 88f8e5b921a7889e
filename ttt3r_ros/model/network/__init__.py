# SPDX-License-Identifier: Apache-2.0
"""The network's modules and its state."""
