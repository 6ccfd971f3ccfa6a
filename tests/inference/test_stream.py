"""Streams: in order, in constant memory, as soon as what has arrived is done."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from slotfill.inference.stream import ordered_map, read_ahead


def collect(groups):
    return [item for group in groups for item in group]


def test_arrivals_keep_order_and_bounds():
    items = [str(number) for number in range(1000)]
    groups = list(read_ahead(items, 7))
    assert collect(groups) == items
    assert {len(group) for group in groups} <= set(range(1, 8))
    assert list(read_ahead([], 7)) == []


def test_arrivals_do_not_wait_for_more():
    gate = threading.Event()

    def slow():
        yield "first"
        assert gate.wait(30)
        yield "second"

    found = read_ahead(slow(), 100)
    assert next(found) == ["first"]
    gate.set()
    assert collect(found) == ["second"]


def test_arrivals_read_ahead_by_no_more_than_two_groups():
    taken = []

    def source():
        for number in range(10_000):
            taken.append(number)
            yield str(number)

    found = read_ahead(source(), 10)
    next(found)
    settle(taken)
    # One group given, two waiting, and the one item that waits for room.
    assert len(taken) <= 10 + 2 * 10 + 1
    found.close()


def settle(taken):
    """Wait until the thread that fills `taken` stands still."""
    before = -1
    while before != len(taken):
        before = len(taken)
        time.sleep(0.05)


def test_arrivals_raise_what_the_source_raises_after_what_came_before():
    def source():
        yield from ("a", "b")
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match=r"^broken$"):
        for group in read_ahead(source(), 1):
            found += group
    assert found == ["a", "b"]


def test_arrivals_let_go_of_their_source_when_nobody_asks_any_more():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    found = read_ahead(source(), 3)
    next(found)
    found.close()
    assert closed.wait(30)


def test_work_comes_out_in_order_whoever_is_done_first():
    def work(number):
        time.sleep(0.02 * (number % 3 == 0))
        return number

    with ThreadPoolExecutor(2) as workers:
        assert list(ordered_map(work, range(20), workers)) == list(range(20))


def test_work_is_given_out_no_more_than_four_at_a_time():
    taken = []

    def source():
        for number in range(1000):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as workers:
        found = ordered_map(lambda number: number, source(), workers)
        assert next(found) == 0
        settle(taken)
        assert len(taken) <= 5
        found.close()


def test_work_is_not_held_back_by_what_has_not_come_yet():
    gate = threading.Event()

    def slow():
        yield "first"
        assert gate.wait(30)
        yield "second"

    with ThreadPoolExecutor(2) as workers:
        found = ordered_map(str.upper, slow(), workers)
        assert next(found) == "FIRST"
        gate.set()
        assert list(found) == ["SECOND"]


def test_what_work_raises_is_raised_in_its_place():
    with ThreadPoolExecutor(2) as workers:
        found = ordered_map(lambda number: 1 // number, [1, 0, 1], workers)
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)
