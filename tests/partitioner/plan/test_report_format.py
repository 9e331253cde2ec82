"""Numbers, names and tables of the report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models import HardwareSpec
from partitioner.plan.names import class_name, device_span, folded, tier_of, tier_span
from partitioner.plan.report.numerals import (
    counted,
    duration,
    percent,
    significant,
    size,
    size_unit,
    time_unit,
)
from partitioner.plan.report.rows import merged
from partitioner.plan.report.table import WIDTH, Column, pairs, paragraph, shorten, table


class TestNumerals:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0"),
            (0.00123456, "0.00123"),
            (7.2, "7.20"),
            (9.996, "10.0"),
            (99.96, "100"),
            (741.4, "741"),
            (999.4, "999"),
            (999.6, "1000"),
            (7412.3, "7412"),
            (-3.14159, "-3.14"),
        ],
    )
    def test_significant(self, value: float, text: str) -> None:
        assert significant(value) == text

    @given(st.floats(1e-9, 1e9))
    def test_three_digits_are_kept(self, value: float) -> None:
        assert float(significant(value)) == pytest.approx(value, rel=0.0051)
        assert "e" not in significant(value)

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0 s"),
            (697.66, "698 s"),
            (0.99949, "999 ms"),
            (0.9996, "1.00 s"),
            (33e-6, "33.0 us"),
            (4e-10, "0.400 ns"),
        ],
    )
    def test_duration(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    def test_duration_with_more_digits(self) -> None:
        assert duration(697.6612, 5) == "697.66 s"

    @pytest.mark.parametrize(
        ("num_bytes", "text"), [(0, "0 GB"), (107374182400, "107 GB"), (15360, "15.4 kB"), (7, "7.00 B")]
    )
    def test_size(self, num_bytes: float, text: str) -> None:
        assert size(num_bytes) == text

    @pytest.mark.parametrize(
        ("share", "text"),
        [
            (0, "0"),
            (1e-5, "<0.1"),
            (0.0058, "0.6"),
            (0.0994, "9.9"),
            (0.0996, "10"),
            (0.888, "89"),
            (1, "100"),
        ],
    )
    def test_percent(self, share: float, text: str) -> None:
        assert percent(share) == text

    def test_counted(self) -> None:
        assert [counted(n, "row") for n in (0, 1, 4)] == ["0 rows", "1 row", "4 rows"]

    @pytest.mark.parametrize(
        ("seconds", "name"),
        [
            ([], "s"),
            ([0.0], "s"),
            ([698.0, 17.8, 0.042], "s"),
            ([0.0727, 0.589], "ms"),
            ([5.774, 1.9e-6], "ms"),  # four digits, so that the smallest shows
            ([309.0, 7e-4], "s"),  # five would be too many
            ([2e-10], "ns"),
        ],
    )
    def test_the_unit_of_a_column(self, seconds: list[float], name: str) -> None:
        assert time_unit(seconds).name == name

    def test_cells_of_one_unit(self) -> None:
        unit = size_unit([48e9, 25.6e9, 73.4e6, 1e4])
        assert unit.name == "GB"
        assert [unit.of(b) for b in (48e9, 0.0, 73.4e6, 1e4, 107.374e9)] == [
            "48.0",
            "0",
            "0.073",
            "<0.001",
            "107",
        ]

    @given(st.lists(st.floats(1e-9, 1e6), min_size=1))
    def test_no_column_needs_more_than_four_digits_before_the_point(self, seconds: list[float]) -> None:
        unit = time_unit(seconds)
        largest = float(unit.of(max(seconds)))
        assert largest <= 9999 or unit.name == "s"
        assert largest >= 1 or unit.name == "ns"


class TestNames:
    def test_numbers_between_dots_are_folded(self) -> None:
        assert folded("blocks.3.mlp.up") == "blocks.*.mlp.up"
        assert folded("blocks.3.norm1") == "blocks.*.norm1"
        assert folded("12.keys") == "*.keys"

    @pytest.mark.parametrize(
        ("layers", "every", "name"),
        [
            (range(40), 40, "blocks.*.up"),
            ([7], 40, "blocks.7.up"),
            ([0], 1, "blocks.0.up"),
            ([0, *range(9, 40)], 40, "blocks.0,9-39.up"),
            ([1, 3, 5, 7], 40, "blocks.*.up"),
        ],
    )
    def test_a_class_says_which_layers(self, layers: list[int], every: int, name: str) -> None:
        assert class_name([f"blocks.{n}.up" for n in layers], every) == name

    @pytest.mark.parametrize(
        ("devices", "name"),
        [
            (["csd0", "csd1", "csd2", "csd3"], "csd0-3"),
            (["csd0", "csd2"], "csd0,2"),
            (["csd1.up", "csd0.up"], "csd0-1.up"),
            (["gpu0", "host"], "gpu0, host"),
            (["csd0.up", "csd0.down"], "csd0.up, csd0.down"),
            (["host", "host"], "host"),
        ],
    )
    def test_devices(self, devices: list[str], name: str) -> None:
        assert device_span(devices) == name

    def test_tiers(self) -> None:
        hw = HardwareSpec.load("2xa6000-csd").with_drives(3)
        assert [tier_span(hw, t) for t in ("gpu", "host", "csd")] == ["gpu0-1", "host", "csd0-2"]
        assert [tier_of(d) for d in ("gpu1", "host", "csd12")] == ["gpu", "host", "csd"]


class TestTable:
    def test_points_meet_and_text_is_flush_left(self) -> None:
        columns = (Column("op", "left"), Column("time\nms"), Column("on", "left"))
        rows = [
            ["up", "13.2", "gpu0"],
            ["embed", "0.002", "-"],
            ["norm", "<0.001", "host"],
            ["head", "-", "gpu0"],
        ]
        assert table(columns, rows) == [
            "           time",
            "  op         ms  on",
            "  up     13.2    gpu0",
            "  embed   0.002  -",
            "  norm   <0.001  host",
            "  head        -  gpu0",
        ]

    def test_the_widest_text_is_cut_in_its_middle(self) -> None:
        rows = [["a" * 60 + "b" * 60, "12", "gpu0"]]
        header, line = table((Column("op", "left"), Column("count"), Column("on", "left")), rows)
        assert len(header) <= len(line) == WIDTH
        assert "a..b" in line
        assert line.endswith("b     12  gpu0")

    def test_shorten(self) -> None:
        assert shorten("abcdefghij", 10) == "abcdefghij"
        assert shorten("abcdefghij", 8) == "abc..hij"
        assert shorten("abcdefghij", 7) == "ab..hij"

    def test_paragraphs_hang(self) -> None:
        lines = paragraph("word " * 40, "  a  ")
        assert lines[0].startswith("  a  word")
        assert all(line.startswith("     word") for line in lines[1:])
        assert max(map(len, lines)) <= WIDTH

    def test_pairs_align_their_text(self) -> None:
        assert pairs([("model", "tiny"), ("", "more"), ("hardware", "demo")]) == [
            "  model     tiny",
            "            more",
            "  hardware  demo",
        ]

    def test_equal_neighbours_become_one_row(self) -> None:
        rows = [
            ("csd0", ["1"]),
            ("csd1", ["2"]),
            ("csd2", ["2"]),
            ("csd2.up", ["2"]),
            ("csd3.up", ["2"]),
            ("gpu0", ["2"]),
        ]
        assert merged(rows) == [["csd0", "1"], ["csd1-2", "2"], ["csd2-3.up", "2"], ["gpu0", "2"]]
