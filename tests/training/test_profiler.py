"""SectionTimer: every second is counted once."""

from __future__ import annotations

import pytest
from test_train import make_trainer, run
from torch import Tensor, nn

import slotfill.training.profiler
from slotfill.training.profiler import SectionTimer


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(slotfill.training.profiler.time, "perf_counter", lambda: self.now)


def test_nested_section_is_not_counted_twice(monkeypatch):
    clock = Clock(monkeypatch)
    timer = SectionTimer()
    clock.now = 1
    with timer.section("step"):
        clock.now = 3
        with timer.section("backward"):
            clock.now = 7
        clock.now = 8
    clock.now = 9
    timer.switch("other")
    assert timer.seconds == {"other": 2, "step": 3, "backward": 4}


def test_exception_ends_a_section(monkeypatch):
    clock = Clock(monkeypatch)
    timer = SectionTimer()
    with pytest.raises(ZeroDivisionError), timer.section("step"):
        clock.now = 2
        raise ZeroDivisionError
    clock.now = 5
    timer.switch("other")
    assert timer.seconds == {"other": 3, "step": 2}


def test_calls_of_a_function_are_counted(monkeypatch):
    clock = Clock(monkeypatch)

    def work(seconds):
        clock.now += seconds
        return -seconds

    timer = SectionTimer()
    timed = timer.section("work")(work)
    assert [timed(seconds) for seconds in (10, 20)] == [-10, -20]
    clock.now += 1
    timer.switch("other")
    assert timer.seconds == {"other": 1, "work": 30}


def test_device_is_synchronized_before_the_clock_is_read():
    calls = []
    timer = SectionTimer(lambda: calls.append(1))
    with timer.section("step"):
        pass
    assert len(calls) == 2


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_training_time_is_divided_into_its_parts(average):
    trainer = make_trainer(f"train.ema_decay={average}", "train.epochs=1")
    timer = SectionTimer()
    with timer.attach(trainer):
        run(trainer, report=timer.section("report")(lambda progress: None))
    timer.switch("other")
    sections = {"embedding: word", "embedding: char_cnn", "encoder: recurrent", "tagger: crf"}
    sections |= {"batches", "backward", "optimizer", "validation", "report", "other"}
    assert set(timer.seconds) - {"EMA", "other workers"} == sections
    assert ("EMA" in timer.seconds) == bool(average)
    assert all(seconds > 0 for seconds in timer.seconds.values())


def test_no_times_are_recorded_after_the_block():
    trainer = make_trainer()
    functions = Tensor.backward, nn.utils.clip_grad_norm_
    attributes = set(vars(trainer.batches)), set(vars(trainer.model.tagger))
    with SectionTimer().attach(trainer):
        assert functions[0] is not Tensor.backward
    assert functions == (Tensor.backward, nn.utils.clip_grad_norm_)
    assert attributes == (set(vars(trainer.batches)), set(vars(trainer.model.tagger)))
