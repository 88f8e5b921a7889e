# SPDX-License-Identifier: Apache-2.0
"""Map: voxels in submaps, occupancy grid and trajectory."""
