# SPDX-License-Identifier: Apache-2.0
"""Writers of point clouds, grids, images and scene formats."""
