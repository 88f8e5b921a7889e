# SPDX-License-Identifier: Apache-2.0
"""Image encodings, rectification, depth images and camera calibration."""
