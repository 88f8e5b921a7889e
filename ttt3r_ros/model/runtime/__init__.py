# SPDX-License-Identifier: Apache-2.0
"""Load weights and run the network on a device."""
