# SPDX-License-Identifier: Apache-2.0
"""Units and errors of stamps in text files, and in the datasets that have them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from dataset_files import red_values, write_euroc, write_image, write_odometry, write_text, write_tum
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sources import open_source
from ttt3r_ros.io.text_stamps import NANOSECONDS, parse_stamps_ns
from ttt3r_ros.io.trajectory_files import read_tum

PATH = Path("rgb.txt")
EPOCH_NS = 1_403_636_579_763_555_584


def numbered(texts: list[str]) -> list[tuple[int, str]]:
    return list(enumerate(texts, start=1))


def as_text(stamp_ns: int, unit: str) -> str:
    return f"{Decimal(stamp_ns) / NANOSECONDS[unit]:f}"


@settings(max_examples=200, deadline=None)
@given(
    start_ns=st.integers(10**18, 2 * 10**18),
    period_ns=st.integers(2_000_000, 2_000_000_000),
    count=st.integers(2, 30),
    unit=st.sampled_from(list(NANOSECONDS)),
    expected=st.sampled_from(["s", "ns"]),
)
def test_times_since_1970_are_read_in_any_unit(
    start_ns: int, period_ns: int, count: int, unit: str, expected: str
) -> None:
    stamps_ns = [start_ns + k * period_ns for k in range(count)]
    texts = [as_text(stamp_ns, unit) for stamp_ns in stamps_ns]
    assert parse_stamps_ns(PATH, numbered(texts), expected) == stamps_ns


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("rate_hz", [1, 10, 20, 30, 60, 200])
def test_times_since_the_start_are_read_in_any_unit(unit: str, rate_hz: int) -> None:
    step_ns = 10**9 // rate_hz // 1000 * 1000
    stamps_ns = [k * step_ns for k in range(50)]
    texts = [as_text(stamp_ns, unit) for stamp_ns in stamps_ns]
    assert parse_stamps_ns(PATH, numbered(texts)) == stamps_ns


STRAY = [
    "-1.5",
    "-1403636579763555584",
    "nan",
    "inf",
    "-inf",
    "1e30",
    "1e400",
    "9" * 5000,
    "1e999999999",
    "0x10",
    "soon",
]


@pytest.mark.parametrize("text", STRAY, ids=lambda text: text[:12])
def test_the_error_of_a_stray_number_has_its_line(text: str) -> None:
    good = [as_text(EPOCH_NS + k * 10**8, "s") for k in range(6)]
    with pytest.raises(SourceError, match=r"^rgb\.txt:4: ") as caught:
        parse_stamps_ns(PATH, numbered([*good[:3], text, *good[3:]]))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["0", "1403636579763555584", "1403636579763", "14.5"])
def test_one_stamp_of_another_clock_or_unit_is_an_error(text: str) -> None:
    good = [as_text(EPOCH_NS + k * 10**8, "s") for k in range(6)]
    with pytest.raises(SourceError, match=rf"^rgb\.txt:7: the stamp {text} is far from the others"):
        parse_stamps_ns(PATH, numbered([*good, text]))


@pytest.mark.parametrize("unit", NANOSECONDS)
def test_a_tum_folder_with_stamps_in_any_unit_has_its_poses(tmp_path: Path, unit: str) -> None:
    root = write_tum(tmp_path)
    start_ns = 1_305_031_102 * 10**9

    def shift(name: str) -> None:
        rows = [
            line.split(maxsplit=1) for line in (root / name).read_text().splitlines() if line[0] != "#"
        ]
        times = [as_text(start_ns + int(Decimal(time) * 10**9), unit) for time, _ in rows]
        write_text(
            root / name, "".join(f"{t} {rest}\n" for t, (_, rest) in zip(times, rows, strict=True))
        )

    for name in ("rgb.txt", "depth.txt", "groundtruth.txt"):
        shift(name)
    source = open_source(str(root))
    assert red_values(source) == [0, 10, 20]
    assert [stamp_ns - start_ns for stamp_ns, _ in source.ground_truth()] == [
        100 * 10**9,
        100_200_000_000,
    ]


def test_a_euroc_sequence_with_stamps_in_seconds_is_read(tmp_path: Path) -> None:
    root = write_euroc(tmp_path)
    table = root / "mav0" / "cam0" / "data.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    write_text(table, "".join(f"{as_text(int(stamp), 's')},{name}\n" for stamp, name in rows))
    stamps_ns = [frame.stamp_ns for frame in open_source(str(root)).frames()]
    assert stamps_ns == [int(stamp) for stamp, _ in rows]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e30", "", "x"])
def test_hostile_stamps_of_datasets_are_errors_with_file_and_line(tmp_path: Path, text: str) -> None:
    tum = write_tum(tmp_path / "tum")
    write_text(tum / "rgb.txt", f"100 rgb/0.png\n100.1 rgb/1.png\n{text} rgb/2.png\n")
    kitti = write_odometry(tmp_path / "kitti")
    write_text(kitti / "times.txt", f"0.0\n0.1\n{text or 'x'}\n")
    euroc = write_euroc(tmp_path / "euroc")
    table = euroc / "mav0" / "cam0" / "data.csv"
    lines = table.read_text().splitlines()
    write_text(table, "\n".join([*lines[:2], f"{text},{lines[2].split(',')[1]}", lines[3]]))
    for root, name in ((tum, "rgb.txt"), (kitti, "times.txt"), (euroc, "data.csv")):
        with pytest.raises(SourceError, match=rf"{name}:3: "):
            open_source(str(root))


def test_a_folder_whose_ground_truth_has_equal_stamps_is_an_error(tmp_path: Path) -> None:
    for k in range(3):
        write_image(tmp_path / f"{k}.png")
    write_text(tmp_path / "groundtruth.txt", "0 0 0 0 0 0 0 1\n" * 3)
    with pytest.raises(SourceError, match="all 3 images have the stamp 0 ns"):
        open_source(str(tmp_path))


def test_ground_truth_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "groundtruth.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"groundtruth\.txt is not text"):
        read_tum(tmp_path / "groundtruth.txt")
