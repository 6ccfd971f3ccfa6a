"""Timing: every second is counted once."""

from __future__ import annotations

import pytest
from test_train import run, training_of

import slotfill.training.profiler
from slotfill.training.profiler import Times


class Clock:
    """Time that goes on only when told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(slotfill.training.profiler.time, "perf_counter", lambda: self.now)


def test_what_is_within_is_not_counted_twice(monkeypatch):
    clock = Clock(monkeypatch)
    times = Times()
    clock.now = 1
    with times.of("step"):
        clock.now = 3
        with times.of("backward"):
            clock.now = 7
        clock.now = 8
    clock.now = 9
    times.turn_to("other")
    assert times.seconds == {"other": 2, "step": 3, "backward": 4}


def test_a_fault_ends_what_was_counted(monkeypatch):
    clock = Clock(monkeypatch)
    times = Times()
    with pytest.raises(ZeroDivisionError), times.of("step"):
        clock.now = 2
        raise ZeroDivisionError
    clock.now = 5
    times.turn_to("other")
    assert times.seconds == {"other": 3, "step": 2}


def test_making_items_is_counted(monkeypatch):
    clock = Clock(monkeypatch)

    def items():
        for number in range(3):
            clock.now += 10
            yield number

    times = Times()
    found = []
    for item in times.each("batches", items()):
        clock.now += 1
        found.append(item)
    times.turn_to("other")
    assert found == [0, 1, 2] and times.seconds == {"other": 3, "batches": 30}


def test_waits_before_each_look():
    waits = []
    times = Times(lambda: waits.append(1))
    with times.of("step"):
        pass
    assert len(waits) == 2


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_training_says_where_its_time_goes(average):
    training = training_of(f"train.ema_decay={average}", "train.epochs=1")
    training.times.watch(training.model)
    run(training)
    training.times.turn_to("other")
    parts = {"embedding: word", "embedding: char_cnn", "encoder: recurrent", "tagger: crf"}
    wanted = {*parts, "batches", "backward", "optimizer", "validation", "report", "other"}
    assert set(training.times.seconds) - {"average", "waiting for the other workers"} == wanted
    assert all(seconds > 0 for seconds in training.times.seconds.values())
