"""What `python -m benchmarks.fuzz` drives at length, guided by coverage, is driven here in short by hypothesis."""

from __future__ import annotations

import pytest
from benchmarks.fuzz import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.text(st.characters(), max_size=30)


class Drawn:
    """What a target is given, as hypothesis likes it."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def number(self, most: int) -> int:
        return self._data.draw(st.integers(0, most))

    def text(self) -> str:
        return self._data.draw(TEXTS)

    def bytes(self) -> bytes:
        return self._data.draw(st.binary(max_size=30))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_input_breaks_what_is_promised_of_it(target: str, data: st.DataObject) -> None:
    TARGETS[target](Drawn(data))
