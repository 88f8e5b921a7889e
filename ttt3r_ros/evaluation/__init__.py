# SPDX-License-Identifier: Apache-2.0
"""Comparison with ground truth."""
