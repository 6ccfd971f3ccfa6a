"""The clockwork RNN against a loop over its equations; its clock and its connections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cell_cases import HIDDEN, LENGTHS, batch, both_ways, build_encoder
from part_cases import randomize

from slotfill.config.registry import CELLS
from slotfill.errors import ConfigError
from slotfill.model.recurrence import run_cell


def clockwork(w, xs, periods):
    """Return the outputs unit by unit; `periods` are those of the units, in order."""
    h = np.zeros(HIDDEN)
    for time, x in enumerate(xs):
        new = h.copy()
        for unit, period in enumerate(periods):
            if time % period == 0:
                total = x @ w("input_weight")[:, unit] + w("bias")[0, unit]
                for other, other_period in enumerate(periods):
                    if other_period >= period:
                        total += h[other] * w("recurrent_weight")[other, unit]
                new[unit] = np.tanh(total)
        h = new
        yield h


@pytest.mark.parametrize(
    ("periods", "units"),
    [
        ([1, 2, 4], [1, 1, 2, 2, 4, 4]),
        ([3, 1, 2], [1, 1, 2, 2, 3, 3]),
        ([2, 2, 5], [2] * 4 + [5] * 2),
        ([1, 2, 4, 8], [1, 1, 2, 2, 4, 8]),
    ],
)
def test_matches_equations(periods, units):
    encoder, (x, lengths) = build_encoder({"name": "clockwork", "periods": periods}, 3), batch(3)
    actual = encoder(x, lengths).detach().numpy()
    for sentence, length, row in zip(x.numpy(), LENGTHS, actual, strict=True):
        expected = both_ways(
            encoder.layers[0], sentence[:length], lambda w, xs: clockwork(w, xs, units)
        )
        np.testing.assert_allclose(row[:length], expected, atol=1e-12, rtol=1e-12)


def test_modules_are_updated_at_their_periods():
    """A unit changes exactly when its period divides the step's number."""
    cell = CELLS.build({"name": "clockwork", "periods": [2, 1, 4]}, 3, HIDDEN, 2)
    outputs = run_cell(cell, torch.randn(2, 9, 1, 3, generator=torch.Generator().manual_seed(1)))[0]
    changed = (outputs[:, 1:] != outputs[:, :-1])[:, :, 0]
    for time in range(1, 9):
        assert (
            changed[:, time - 1].tolist()
            == [[time % period == 0 for period in (1, 1, 2, 2, 4, 4)]] * 2
        )


def test_no_connection_from_fast_to_slow_modules():
    cell = CELLS.build({"name": "clockwork", "periods": [4, 1, 2]}, 3, HIDDEN)
    units = (1, 1, 2, 2, 4, 4)
    seen = torch.tensor([[slow >= fast for fast in units] for slow in units])
    assert torch.equal(cell.recurrent_weight[0] != 0, seen), "from the start"
    randomize(cell, 1)
    h, time = cell.initial_state(torch.zeros(1, 1, HIDDEN))
    slopes = torch.autograd.functional.jacobian(
        lambda h: cell.step(torch.zeros(1, 1, HIDDEN), (h, time))[0], h
    )
    assert torch.equal(slopes.view(HIDDEN, HIDDEN).T != 0, seen), (
        "whatever stands where nothing is seen"
    )


def test_backward_clock_starts_at_the_last_token():
    """With period 4, modules are updated at tokens 6 and 2 of 7 tokens, and at the last of 4."""
    encoder, (x, lengths) = build_encoder({"name": "clockwork", "periods": [4]}, 3), batch(3)
    backwards = encoder(x, lengths)[:, :, HIDDEN:]
    values = {
        length: row[:length, 0].tolist() for length, row in zip(LENGTHS, backwards, strict=True)
    }
    assert [len(set(values[length])) for length in LENGTHS] == [3, 1, 1, 2]
    assert len(set(values[7][3:])) == len(set(values[7][:3])) == 1


@pytest.mark.parametrize("periods", [[], [1, 2, 3, 4, 5, 6]])
def test_more_periods_than_units_is_an_error(periods):
    with pytest.raises(
        ConfigError, match=f"cell.periods: {len(periods)} periods for hidden_size 5; at least one"
    ):
        CELLS.build({"name": "clockwork", "periods": periods}, 3, 5)
