# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``run``: one source here, several in processes of their own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.cli.many import expanded, run_many
from ttt3r_ros.cli.run_one import run_one
from ttt3r_ros.cli.run_settings import all_settings, config_of, outputs_of
from ttt3r_ros.cli.run_state import Identity
from ttt3r_ros.io.sources import AmbiguousSource, SourceOptions, open_source

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.io.sequence import Sequence


def run(arguments: argparse.Namespace) -> int:
    """Map what the arguments name; return the exit status."""
    config = config_of(arguments)
    outputs = outputs_of(arguments.write) if arguments.write else ()
    sources, is_one = expanded(arguments.sources)
    folder = arguments.output.expanduser().resolve()
    if not is_one or arguments.jobs or arguments.ray:
        return run_many(sources, folder, arguments, config)
    options = SourceOptions(
        topic=arguments.topic,
        camera_info_topic=arguments.camera_info,
        layout=arguments.layout,
        stride=arguments.stride,
        limit=arguments.limit,
    )
    source, options = _opened(sources[0], options)
    read = {
        "topic": options.topic,
        "camera_info": options.camera_info_topic,
        "layout": options.layout,
        "stride": options.stride,
    }
    identity = Identity(_full_name(sources[0]), read, all_settings(config), outputs)
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


def _full_name(source: str) -> str:
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source
