# SPDX-License-Identifier: Apache-2.0
"""Files and recorded data, without ROS."""
