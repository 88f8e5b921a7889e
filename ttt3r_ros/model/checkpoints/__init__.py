# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files and their weights."""
