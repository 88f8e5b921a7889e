# SPDX-License-Identifier: Apache-2.0
"""Corrections of the map by a back end: the interface between loop closure and the worker thread."""
