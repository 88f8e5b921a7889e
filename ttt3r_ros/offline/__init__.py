# SPDX-License-Identifier: Apache-2.0
"""Map recordings from end to end, without ROS."""
