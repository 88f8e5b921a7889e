# SPDX-License-Identifier: Apache-2.0
"""Errors of trajectories, depth and reconstructions against ground truth."""
