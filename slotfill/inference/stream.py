"""Process a stream as it arrives, by several workers at once, with results in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(items: Iterable[Item], max_group: int) -> Iterator[list[Item]]:
    """Yield `items` in groups of 1 to `max_group`, without waiting to fill a group.

    A thread reads at most two groups ahead: a slow source is answered at once, a fast one in large
    groups, in constant memory. An error of the source is raised after the last group.
    """
    queue: SimpleQueue[Any] = SimpleQueue()
    end = object()
    error: BaseException | None = None
    capacity = threading.Semaphore(2)
    closed = threading.Event()

    def read() -> None:
        nonlocal error
        try:
            for count, item in enumerate(items):
                # Once a group, since a semaphore costs more than a short line.
                if count % max_group == 0:
                    capacity.acquire()
                if closed.is_set():
                    return
                queue.put(item)
        except BaseException as raised:
            error = raised
        queue.put(end)

    threading.Thread(target=read, daemon=True).start()
    taken = 0
    try:
        while True:
            group: list[Item] = []
            while len(group) < max_group and not (group and queue.empty()):
                item = queue.get()
                if item is end:
                    if group:
                        yield group
                    if error is not None:
                        raise error
                    return
                group.append(item)
            for _ in range((taken + len(group)) // max_group - taken // max_group):
                capacity.release()
            taken += len(group)
            yield group
    finally:
        # The thread may be waiting for capacity; let it end.
        closed.set()
        capacity.release()


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], workers: Executor
) -> Iterator[Result]:
    """Yield the result of `work` for each item, in order, as soon as it is ready.

    At most four items are in progress at a time.
    """
    futures = (workers.submit(work, item) for item in items)
    for (future,) in read_ahead(futures, 1):
        yield future.result()
