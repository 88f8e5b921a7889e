# SPDX-License-Identifier: Apache-2.0
"""Voxel map, occupancy grid and trajectory."""
