"""The clock of an export: whole ticks for every snippet plan."""

from fractions import Fraction

import pytest

from pipeline.exports.clock import Clock
from tests.pipeline.exports.test_exports import PLANS


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_clock_has_whole_strides_and_offsets_of_the_right_length(plan):
    plan = plan.at(Fraction(24))
    clock = Clock.of(plan)
    assert clock.stride / clock.rate == plan.stride_seconds
    assert clock.offset / clock.rate == plan.window_seconds / 2
    assert clock.stride >= 4


def test_the_clock_is_the_encoders_own_where_that_is_whole():
    assert Clock.of(PLANS["i3d"]) == Clock(Fraction(30), 16, 32)
    assert Clock.of(PLANS["odd window"]) == Clock(Fraction(50), 8, 15)
