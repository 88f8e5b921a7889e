# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``run``: arguments and printed results of `ttt3r_ros.offline`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.cli.arguments import add_settings, frequency_hz, integer, parse_config, require_extra
from ttt3r_ros.errors import AmbiguousSource, ConfigError, OutputError

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.sources import SourceOptions
    from ttt3r_ros.offline.batch.summary import SourceResult
    from ttt3r_ros.offline.result import RunResult

INTERRUPTED = 130  # exit status

DESCRIPTION = (
    "Map every frame of recordings without ROS, with the pipeline of mapping_node. A source is a bag (rosbag2, MCAP, "
    "ROS 1), a video, a folder of images, a dataset sequence, or webcam:0. Several sources, or a pattern such as "
    "'bags/*.mcap', are mapped into a folder each."
)


def add_parser(commands: Any) -> None:
    """Add the subcommand ``run``."""
    parser = commands.add_parser("run", help="map recordings, without ROS", description=DESCRIPTION)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to map")
    parser.add_argument(
        "--output", type=Path, default=Path("out"), metavar="DIR", help="run folder (out)"
    )
    parser.add_argument(
        "--outputs", nargs="+", action="extend", metavar="NAME",
        help="trajectory map report frames state (the default outputs), glb rgb depth confidence npz colmap nerfstudio "
        "bag; all; default",
    )  # fmt: skip
    _add_source_options(parser)
    add_settings(parser.add_argument_group("settings (`ttt3r_ros params` lists them)"))
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="continue the interrupted run in the folder"
    )
    existing.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    _add_batch_options(parser)
    parser.set_defaults(run=_run)


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("source")
    source.add_argument("--topic", default="", help="image topic of a bag that has several")
    source.add_argument(
        "--camera-info-topic",
        default="",
        metavar="TOPIC",
        help="CameraInfo topic (default: next to the image topic)",
    )
    source.add_argument(
        "--format", default="auto",
        help="format of a folder: auto, folder, tum, kitti, euroc, 7scenes, scannet, bonn, sintel, nrgbd",
    )  # fmt: skip
    source.add_argument(
        "--calibration", type=Path, metavar="FILE",
        help="camera calibration: YAML of ROS, OpenCV, Kalibr or EuRoC, or JSON with fx, fy, cx, cy, width, height",
    )  # fmt: skip
    source.add_argument(
        "--fps",
        type=frequency_hz(),
        default=10.0,
        metavar="HZ",
        help="frame rate of a folder without stamps (10)",
    )
    source.add_argument("--stride", type=integer(1), default=1, metavar="N", help="take every Nth frame")
    source.add_argument(
        "--max-frames", type=integer(0), default=0, metavar="N", help="stop after N frames"
    )


def _add_batch_options(parser: argparse.ArgumentParser) -> None:
    batch = parser.add_argument_group("several sources")
    batch.add_argument(
        "--jobs", type=integer(1), metavar="N", help="parallel processes (one per CUDA device, else 1)"
    )
    batch.add_argument(
        "--ray", nargs="?", const="local", metavar="ADDRESS",
        help="one task per source on a Ray cluster: local, auto or an address; the folders must be shared",
    )  # fmt: skip
    batch.add_argument(
        "--retries", type=integer(0), default=2, metavar="N", help="retries of a killed Ray task (2)"
    )


def _run(arguments: argparse.Namespace) -> int:
    config = parse_config(arguments)
    with require_extra("run", "pip install 'ttt3r_ros[run]'"):
        from ttt3r_ros.offline.batch.local import expand_sources  # noqa: PLC0415 - torch takes seconds to load
        from ttt3r_ros.offline.folder.lock import RunFolderError  # noqa: PLC0415
        from ttt3r_ros.offline.options import UnknownOutputError, resolve_outputs  # noqa: PLC0415
    try:
        outputs = None if arguments.outputs is None else resolve_outputs(_split(arguments.outputs))
        sources, is_single = expand_sources(arguments.sources)
        if is_single and not arguments.jobs and not arguments.ray:
            return _map_one(sources[0], config, outputs, arguments)
        return _map_batch(sources, config, outputs, arguments)
    except UnknownOutputError as error:
        hint = "; sources come before --outputs" if "/" in str(error) else ""
        msg = f"--outputs: {error}{hint}"
        raise ConfigError(msg) from error
    except RunFolderError as error:
        msg = f"{error}; {' or '.join(_REMEDIES[name] for name in error.remedies)}"
        raise OutputError(msg) from error


_REMEDIES = {
    "output": "choose another --output",
    "resume": "use --resume to continue it",
    "overwrite": "--overwrite to start from the first frame",
}


def _split(words: list[str]) -> list[str]:
    """Return the parts of words that are separated by commas."""
    return [part for word in words for part in word.split(",") if part]


def _source_options(arguments: argparse.Namespace) -> SourceOptions:
    from ttt3r_ros.io.sources import SourceOptions  # noqa: PLC0415 - OpenCV takes a while to load

    return SourceOptions(
        topic=arguments.topic,
        camera_info_topic=arguments.camera_info_topic,
        format=arguments.format,
        calibration=arguments.calibration and arguments.calibration.expanduser().resolve(),
        fps=arguments.fps,
        stride=arguments.stride,
        max_frames=arguments.max_frames,
    )


def _map_one(
    source: str, config: Config, outputs: tuple[str, ...] | None, arguments: argparse.Namespace
) -> int:
    from ttt3r_ros.offline.run import map_recording  # noqa: PLC0415 - torch takes seconds to load

    def map_with(options: SourceOptions) -> RunResult:
        return map_recording(
            source,
            arguments.output,
            config,
            outputs=outputs,
            options=options,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            progress=True,
        )

    options = _source_options(arguments)
    try:
        result = map_with(options)
    except AmbiguousSource as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        result = map_with(replace(options, topic=_prompt_choice(error)))
    _print_result(result)
    return INTERRUPTED if result.interrupted else int(bool(result.problems))


def _prompt_choice(error: AmbiguousSource) -> str:
    """Return the choice that the user types."""
    print(f"{error.kind}:", file=sys.stderr)
    for number, choice in enumerate(error.choices, start=1):
        print(f"  {number}  {choice}", file=sys.stderr)
    while True:
        print(f"number (1 to {len(error.choices)}): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            raise error
        if answer.strip().isdigit() and 1 <= int(answer) <= len(error.choices):
            return error.choices[int(answer) - 1]


def _print_result(result: RunResult) -> None:
    from ttt3r_ros.offline.progress import print_line  # noqa: PLC0415 - an optional extra

    if result.was_complete:
        print_line(f"{result.folder}: nothing is left to do", sys.stdout)
        return
    if result.records:
        written = f"results: {result.folder}: {', '.join(result.files)}"
        for line in [*result.summary(), written]:
            print_line(line, sys.stdout)
    for problem in result.problems:
        print_line(f"ttt3r_ros: {problem}", sys.stderr)
    if result.interrupted:
        hint = f"; --resume continues with frame {len(result.records)}" if result.resumable else ""
        print_line(f"ttt3r_ros: interrupted{hint}", sys.stderr)


def _map_batch(
    sources: list[str],
    config: Config,
    outputs: tuple[str, ...] | None,
    arguments: argparse.Namespace,
) -> int:
    from ttt3r_ros.offline.batch.local import map_recordings  # noqa: PLC0415 - torch takes seconds to load
    from ttt3r_ros.offline.batch.summary import SUMMARY, table  # noqa: PLC0415

    results = map_recordings(
        sources,
        arguments.output,
        config,
        outputs=outputs,
        options=_source_options(arguments),
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        jobs=arguments.jobs,
        ray=arguments.ray,
        retries=arguments.retries,
        on_result=_print_source_result,
    )
    done = sum(result.status == 0 for result in results)
    print(*table(results), sep="\n")
    print(f"{done} of {len(results)} done; results: {arguments.output}, {SUMMARY}")
    if any(result.status == INTERRUPTED for result in results):
        return INTERRUPTED
    return int(any(result.status for result in results))


def _print_source_result(result: SourceResult, count: int, total: int) -> None:
    print(f"[{count} of {total}] {result.line()}", file=sys.stderr, flush=True)
