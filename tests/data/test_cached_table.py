import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.data import cached, open_table

FRAME = pd.DataFrame(
    {
        "x": [1.0, np.nan, 3.0, 4.0],
        "job": ["a", "b", None, "a"],
        "size": pd.Categorical(["s", "l", "s", None], ["s", "m", "l"], ordered=True),
        "o": np.array([1, None, 3, 4], dtype=object),
    }
)


def _levels(table, j):
    codes, distinct = table.factorize(j)
    return [None if code < 0 else distinct[code] for code in codes]


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [2], [3, 1, 1], []])
@pytest.mark.parametrize("read", [False, True])
def test_rows_taken_are_the_rows(rows, read):
    whole, rows = cached(FRAME), np.array(rows, dtype=int)
    if read:
        for j in range(4):
            whole.storage(j), whole.factorize(j)
        whole.numbers(0), whole.numbers(3)
    part, plain = whole.take(rows), open_table(FRAME.iloc[rows])
    assert part.n_rows == len(rows) and part.names == plain.names
    for j in (0, 3):
        np.testing.assert_array_equal(part.numbers(j), plain.numbers(j))
    for j in (1, 2):
        assert _levels(part, j) == _levels(plain, j)
        assert part.storage(j).family == plain.storage(j).family
    pd.testing.assert_frame_equal(part.write({}), FRAME.iloc[rows])


def test_each_column_is_read_once_and_nobody_may_write_to_it():
    class Counting(type(open_table(FRAME))):
        calls = 0

        def numbers(self, j):
            type(self).calls += 1
            return super().numbers(j)

    table = cached(Counting(FRAME))
    table.numbers(0), table.take(np.array([0])).numbers(0), table.numbers(0)
    assert Counting.calls == 1
    with pytest.raises(ValueError, match="read-only"):
        table.numbers(0)[0] = 5


def test_a_view_is_opened_once():
    table = cached(FRAME)
    assert cached(table) is table and open_table(table) is table
