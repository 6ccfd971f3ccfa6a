"""Streams: results in order, in constant memory, as soon as they are ready."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from slotfill.inference.stream import ordered_map, read_ahead


def collect(groups):
    return [item for group in groups for item in group]


def test_read_ahead_keeps_order_and_group_size():
    items = [str(number) for number in range(1000)]
    groups = list(read_ahead(items, 7))
    assert collect(groups) == items
    assert {len(group) for group in groups} <= set(range(1, 8))
    assert list(read_ahead([], 7)) == []


def test_read_ahead_does_not_wait_to_fill_a_group():
    gate = threading.Event()

    def slow():
        yield "first"
        assert gate.wait(30)
        yield "second"

    found = read_ahead(slow(), 100)
    assert next(found) == ["first"]
    gate.set()
    assert collect(found) == ["second"]


def test_read_ahead_is_bounded_by_two_groups():
    taken = []

    def source():
        for number in range(10_000):
            taken.append(number)
            yield str(number)

    found = read_ahead(source(), 10)
    next(found)
    settle(taken)
    # One group returned, two in the queue, and one item that waits for space.
    assert len(taken) <= 10 + 2 * 10 + 1
    found.close()


def settle(taken):
    """Wait until the thread that fills `taken` blocks."""
    before = -1
    while before != len(taken):
        before = len(taken)
        time.sleep(0.05)


def test_an_error_of_the_source_comes_after_its_items():
    def source():
        yield from ("a", "b")
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match=r"^broken$"):
        for group in read_ahead(source(), 1):
            found += group
    assert found == ["a", "b"]


def test_closing_read_ahead_closes_the_source():
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


def test_ordered_map_keeps_the_order():
    def work(number):
        time.sleep(0.02 * (number % 3 == 0))
        return number

    with ThreadPoolExecutor(2) as workers:
        assert list(ordered_map(work, range(20), workers)) == list(range(20))


def test_ordered_map_has_four_items_in_progress():
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


def test_ordered_map_does_not_wait_for_later_items():
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


def test_ordered_map_raises_errors_in_order():
    with ThreadPoolExecutor(2) as workers:
        found = ordered_map(lambda number: 1 // number, [1, 0, 1], workers)
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)
