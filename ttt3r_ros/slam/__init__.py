# SPDX-License-Identifier: Apache-2.0
"""SLAM back end: today the interface for its corrections of the map. Loop closure and pose graph belong here."""
