# SPDX-License-Identifier: Apache-2.0
"""Frames, poses and maps in NumPy; sees the network only through `Backend`."""
