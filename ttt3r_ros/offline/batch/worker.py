# SPDX-License-Identifier: Apache-2.0
"""Process of one task of a batch: ``python -m ttt3r_ros.offline.batch.worker TASK``, a task as JSON."""

from __future__ import annotations

import logging
import sys

from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.offline.batch.task import task_from_json
from ttt3r_ros.offline.run import map_recording
from ttt3r_ros.offline.signals import INTERRUPTED


def main(argument: str) -> int:
    """Map the source of a task; return 0, 1 after a problem, 130 when interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    task = task_from_json(argument)
    try:
        result = map_recording(
            task.source,
            task.folder,
            task.config,
            outputs=task.outputs,
            options=task.options,
            resume=task.resume,
            overwrite=task.overwrite,
            progress=True,
        )
    except Ttt3rError as error:
        print(error, flush=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    # The last line of the log is the problem that the batch reports.
    print(*result.summary(), *result.problems, sep="\n", flush=True)
    return INTERRUPTED if result.interrupted else int(bool(result.problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
