# SPDX-License-Identifier: Apache-2.0
"""Transform trees and frame names, without ROS."""
