"""Sparse attention that makes no sense, or does not suit the cache, is refused."""

from typing import Any

import numpy as np
import pytest

from runtime.csd import Attend, DriveError, Sparse

from .cached_tokens import Cache, cached

pytestmark = pytest.mark.usefixtures("each_backing")


class TestRefusals:
    def drive(self, channel_group: int | None = 2) -> Cache:
        return cached(np.random.default_rng(0), np.dtype(np.float32), np.array([20]), 1, 1, 4, channel_group)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, [2], [0]), r"num_channels is 0; step one needs at least 1"),
            (
                (1, [2, 2], [0]),
                r"num_tokens has shape \(2,\) and num_newest \(1,\); give one number for each",
            ),
            ((1, [0], [0]), r"step two is to read 0 tokens, 0 newest ones .* at least 1 token"),
            ((1, [2], [3]), r"step two is to read 2 tokens, 3 newest ones among them; .* no more newest"),
            ((1, [2], [-1]), r"step two is to read 2 tokens, -1 newest ones"),
        ],
    )
    def test_numbers_that_make_no_sense(self, arguments: Any, message: str) -> None:
        num_channels, num_tokens, num_newest = arguments
        with pytest.raises(DriveError, match=message):
            Sparse(num_channels, np.array(num_tokens), np.array(num_newest), mean_value=False)

    @pytest.mark.parametrize(
        ("channel_group", "arguments", "options", "message"),
        [
            (None, (1, [2], [0], False), {}, r"this cache keeps it by token only; configure a channel_group"),
            (2, (5, [2], [0], False), {}, r"num_channels is 5, and a head has 4; give that many at most"),
            (
                2,
                (1, [2, 2], [0, 0], False),
                {},
                r"num_tokens has shape \(2,\) and dtype int64; give 1 integers",
            ),
            (
                2,
                (1, [2.0], [0], False),
                {},
                r"num_tokens has shape \(1,\) and dtype float64; give 1 integers",
            ),
            (
                2,
                (1, [2], [0], True),
                {"window": 9},
                r"mean of V over tokens 11 to 20 of sequence 0; .* to False",
            ),
            (
                2,
                (1, [2], [0], True),
                {"lengths": np.array([9])},
                r"mean of V over tokens 0 to 9 .* all 20 tokens",
            ),
        ],
    )
    def test_numbers_that_do_not_suit_the_cache(
        self, channel_group: int | None, arguments: Any, options: dict[str, Any], message: str
    ) -> None:
        drive = self.drive(channel_group).drive
        num_channels, num_tokens, num_newest, mean_value = arguments
        sparse = Sparse(num_channels, np.array(num_tokens), np.array(num_newest), mean_value)
        command = {"lengths": np.array([20]), "sparse": sparse, **options}
        with pytest.raises(DriveError, match=message):
            drive.execute(Attend(0, np.ones((1, 1, 4)), None, None, scale=1.0, **command), 0.0)

    def test_a_window_that_reaches_everything_has_a_mean(self) -> None:
        cache = self.drive()
        sparse = Sparse(2, np.array([5]), np.array([1]), mean_value=True)
        query, length = np.ones((1, 1, 4)), np.array([20])
        got = [
            cache.drive.execute(Attend(0, query, None, None, length, 1.0, window=window, sparse=sparse), 0.0)
            for window in (None, 20, 99)
        ]
        np.testing.assert_array_equal(got[0].value, got[1].value)
        np.testing.assert_array_equal(got[0].value, got[2].value)

    def test_a_refused_command_stores_nothing(self) -> None:
        drive = self.drive(None).drive
        new, sparse = np.ones((1, 1, 4), np.float32), Sparse(1, np.array([2]), np.array([0]), False)
        with pytest.raises(DriveError, match="configure a channel_group"):
            drive.execute(Attend(0, new, new, new, np.array([20]), 1.0, sparse=sparse), 0.0)
        assert drive._tasks.store(0) is not None
        assert drive._tasks.store(0).lengths(0).tolist() == [20]
