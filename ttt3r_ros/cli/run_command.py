# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``run``: one source here, several in processes of their own."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from ttt3r_ros.io.sources import AmbiguousSource, open_source
from ttt3r_ros.offline.batch.local import expanded, run_many
from ttt3r_ros.offline.run import run_one
from ttt3r_ros.offline.run_settings import config_of, identity_of, outputs_of, source_options

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.io.sequence import Sequence
    from ttt3r_ros.io.sources import SourceOptions


def run(arguments: argparse.Namespace) -> int:
    """Map what the arguments name; return the exit status."""
    config = config_of(arguments)
    outputs = outputs_of(arguments.outputs) if arguments.outputs else ()
    sources, is_one = expanded(arguments.sources)
    folder = arguments.output.expanduser().resolve()
    if not is_one or arguments.jobs or arguments.ray:
        return run_many(sources, folder, arguments, config, outputs)
    source, options = _opened(sources[0], source_options(arguments))
    identity = identity_of(sources[0], options, config, outputs)
    return run_one(
        identity, source, config, folder, resume=arguments.resume, overwrite=arguments.overwrite
    )


def _opened(text: str, options: SourceOptions) -> tuple[Sequence, SourceOptions]:
    """Open a source; of several image topics let the user choose, if there is one."""
    try:
        return open_source(text, options), options
    except AmbiguousSource as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        options = replace(options, topic=_asked(error))
        return open_source(text, options), options


def _asked(error: AmbiguousSource) -> str:
    print(f"{error.what}:", file=sys.stderr)
    for number, choice in enumerate(error.choices, start=1):
        print(f"  {number}  {choice}", file=sys.stderr)
    while True:
        print(f"which one (1 to {len(error.choices)})? ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            raise error
        if answer.strip().isdigit() and 1 <= int(answer) <= len(error.choices):
            return error.choices[int(answer) - 1]
