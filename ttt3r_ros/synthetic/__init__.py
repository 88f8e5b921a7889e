# SPDX-License-Identifier: Apache-2.0
"""Procedural scenes rendered to images, depth and poses."""
