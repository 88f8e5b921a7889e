# SPDX-License-Identifier: Apache-2.0
"""Dense metric mapping from any one camera: TTT3R as a library and as a ROS 2 node."""

__version__ = "0.1.0"
