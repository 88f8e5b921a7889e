# SPDX-License-Identifier: Apache-2.0
"""Start a mapping node in its own process and play sequences to it."""
