# SPDX-License-Identifier: Apache-2.0
"""``python -m ttt3r_ros``."""

import sys

from ttt3r_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
