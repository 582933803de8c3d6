import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.ring import Ring


@given(capacity=st.integers(1, 50), lengths=st.lists(st.integers(0, 120), max_size=12), begin=st.integers(0, 1_000))
def test_ring_keeps_the_last_samples_and_nothing_older(capacity, lengths, begin):
    ring = Ring(capacity)
    ring.clear(begin)
    end = begin
    for length in lengths:
        ring.append(np.arange(end, end + length, dtype=np.float32))
        end += length
        assert (ring.begin, ring.end) == (max(begin, end - capacity), end)
        np.testing.assert_array_equal(ring.read(ring.begin, end), np.arange(ring.begin, end))
        with pytest.raises(ValueError, match="are wanted"):
            ring.read(ring.begin - 1, end)
        with pytest.raises(ValueError, match="are wanted"):
            ring.read(ring.begin, end + 1)
    assert ring._kept.size == capacity


def test_what_is_read_is_a_copy_and_what_is_cleared_is_gone():
    ring = Ring(10)
    ring.append(np.ones(10, dtype=np.float32))
    ring.read(2, 8)[:] = 5.0
    assert ring.read(0, 10).max() == 1.0
    ring.clear(10)
    assert (ring.begin, ring.end) == (10, 10)
    assert not ring._kept.any()
    with pytest.raises(ValueError, match="expected 1 or more"):
        Ring(0)
