# SPDX-License-Identifier: Apache-2.0
"""How the weights that ship with the package were made: scenes, losses, curriculum. Not installed with it."""
