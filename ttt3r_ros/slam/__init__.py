# SPDX-License-Identifier: Apache-2.0
"""SLAM back end: today the interface for its corrections of the map; place of loop closure and pose graph."""
