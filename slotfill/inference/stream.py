"""Streams: what arrives is worked on as it comes, by several workers at once, and comes out in
order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _End:
    """What stands behind the last item: what its source ended with."""

    def __init__(self, fault: BaseException | None) -> None:
        self.fault = fault


def read_ahead(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Yield `items` in groups: whatever has arrived by then, at least one and at most `most`.

    A thread reads ahead by at most two groups, so that a slow source is answered at once and a fast
    one in large groups, in constant memory. What `items` raises is raised after the last group.
    """
    waiting: SimpleQueue[Item | _End] = SimpleQueue()
    room = threading.Semaphore(2)
    left = threading.Event()

    def read() -> None:
        fault = None
        try:
            for count, item in enumerate(items):
                # Asked for once a group, since a semaphore costs more than a short line does.
                if count % most == 0:
                    room.acquire()
                if left.is_set():
                    return
                waiting.put(item)
        except BaseException as raised:
            fault = raised
        waiting.put(_End(fault))

    threading.Thread(target=read, daemon=True).start()
    taken = 0
    try:
        while True:
            group: list[Item] = []
            while len(group) < most and not (group and waiting.empty()):
                item = waiting.get()
                if isinstance(item, _End):
                    if group:
                        yield group
                    if item.fault is not None:
                        raise item.fault
                    return
                group.append(item)
            for _ in range((taken + len(group)) // most - taken // most):
                room.release()
            taken += len(group)
            yield group
    finally:
        # Whoever asked has left: the thread may be waiting for room, and ends when it has some.
        left.set()
        room.release()


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], workers: Executor
) -> Iterator[Result]:
    """Yield `work` of each of `items`, in order, as soon as it and those before it are done.

    At most four are on their way at a time.
    """
    futures = (workers.submit(work, item) for item in items)
    for (future,) in read_ahead(futures, 1):
        yield future.result()
