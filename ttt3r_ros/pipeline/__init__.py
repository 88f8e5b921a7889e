# SPDX-License-Identifier: Apache-2.0
"""From frames to map updates: one reconstructor for the node and for recordings."""
