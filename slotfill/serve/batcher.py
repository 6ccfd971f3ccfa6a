"""Batching of concurrent requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, islice
from time import monotonic

from slotfill.data.sentence import Sentence

MAX_BATCH = 512
"""Largest number of texts of a batch."""

MAX_BATCH_COST = 10_000
"""Largest cost of the small requests of a batch, and of its part of a large one."""

_CHECK_AFTER = 0.5
"""Seconds from which it is checked whether the client of a request still waits."""

Tag = Callable[[list[str], int], list[Sentence]]
"""From texts, and the number of readings, to tagged sentences."""


def cost_of(text: str, nbest: int) -> int:
    """Return about how much work a text is: its characters, again for each reading."""
    return len(text) * (1 + nbest)


class QueueFullError(Exception):
    """So many texts wait that a request is refused."""


class ClientGoneError(Exception):
    """The client closed its connection while its request waited."""


@dataclass(eq=False)
class _Job:
    texts: list[str]
    nbest: int
    is_gone: Callable[[], Awaitable[bool]] | None
    result: asyncio.Future[list[Sentence]]
    rest: list[str]
    """Those of its texts that wait."""
    arrived: float = field(default_factory=monotonic)
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def age(self) -> float:
        """Seconds since it arrived."""
        return monotonic() - self.arrived


_Share = tuple[_Job, list[str]]
"""Some texts of a job, which are in the same batch."""


class Batcher:
    """Tags the texts of concurrent requests together, in a thread of its own.

    Requests that arrive while a batch is computed are the next batch. So one that is alone does
    not wait, and the more there are, the larger the batches. A large request is divided among
    several, so that small ones do not wait for all of it; large ones wait for each other.
    """

    def __init__(
        self, tag: Tag, max_waiting: int, on_batch: Callable[[int], object] = lambda size: None
    ) -> None:
        """Tag with `tag`, while at most `max_waiting` texts wait; report the size of each batch."""
        self.tag_batch = tag
        self.max_waiting = max_waiting
        self.on_batch = on_batch
        self.waiting = 0
        """Number of texts that wait."""
        self.is_computing = False
        """Whether its thread is tagging a batch."""
        self._jobs: list[_Job] = []
        self._batch: list[_Share] = []
        self._thread = ThreadPoolExecutor(1)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused."""
        return self.waiting >= self.max_waiting

    @property
    def longest_wait(self) -> float:
        """Seconds since the first of the requests that are not answered yet arrived."""
        jobs = (*self._jobs, *(job for job, _ in self._batch))
        return max((job.age for job in jobs if not job.result.done()), default=0.0)

    async def tag(
        self,
        texts: list[str],
        nbest: int = 0,
        is_gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> list[Sentence]:
        """Return the tagged `texts`; those not tagged yet are given up when this is cancelled.

        Args:
            nbest: Number of readings.
            is_gone: Returns whether nobody waits for the answer any more.

        Raises:
            QueueFullError: Too many texts wait.
            ClientGoneError: `is_gone` returned True; or what tagging raises.
        """
        if self.is_full:
            raise QueueFullError
        if not texts:
            return []
        result = asyncio.get_running_loop().create_future()
        job = _Job(texts, nbest, is_gone, result, texts)
        self._jobs.append(job)
        self.waiting += len(texts)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await job.result

    async def _work(self) -> None:
        """Tag batch by batch until no request waits."""
        while self._jobs:
            await asyncio.sleep(0)  # Requests that have been received join the batch.
            self._batch = await self._take()
            await self._answer(self._batch)

    async def _take(self) -> list[_Share]:
        """Return the next batch: part of the first large job, and the small ones."""
        batch: list[_Share] = []
        room, budget, has_part = MAX_BATCH, MAX_BATCH_COST, False
        for job in tuple(self._jobs):
            count, costs = len(job.rest), [cost_of(text, job.nbest) for text in job.rest]
            if await _is_given_up(job):
                self._take_share(job, count)
                continue
            if count <= room and (cost := sum(costs)) <= budget:
                budget -= cost
            elif has_part:
                continue
            else:
                has_part = True
                fitting = sum(1 for cost in accumulate(costs) if cost <= MAX_BATCH_COST)
                count = min(max(fitting, 1), room)
            batch.append(self._take_share(job, count))
            room -= count
            if not room:
                break
        self._jobs = [job for job in self._jobs if job.rest]
        return batch

    def _take_share(self, job: _Job, count: int) -> _Share:
        share, job.rest = job.rest[:count], job.rest[count:]
        self.waiting -= count
        return job, share

    async def _answer(self, batch: Sequence[_Share]) -> None:
        """Tag a batch; if that fails, tag the jobs one by one, so that only one of them fails."""
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._tag_shares, batch)
        except Exception as error:
            if len(batch) > 1:
                for share in batch:
                    await self._answer([share])
            elif not batch[0][0].result.done():
                batch[0][0].result.set_exception(error)
            return
        self.on_batch(sum(len(texts) for _, texts in batch))
        for (job, _), sentences in zip(batch, results, strict=True):
            job.sentences += sentences
            if len(job.sentences) == len(job.texts) and not job.result.done():
                job.result.set_result(job.sentences)

    def _tag_shares(self, batch: Sequence[_Share]) -> list[list[Sentence]]:
        """Return the sentences of each share; those with as many readings go together."""
        self.is_computing = True
        try:
            results: dict[_Job, list[Sentence]] = {}
            for nbest in {job.nbest for job, _ in batch}:
                group = [share for share in batch if share[0].nbest == nbest]
                tagged = iter(self.tag_batch([text for _, texts in group for text in texts], nbest))
                results |= {job: list(islice(tagged, len(texts))) for job, texts in group}
            return [results[job] for job, _ in batch]
        finally:
            self.is_computing = False


async def _is_given_up(job: _Job) -> bool:
    """Return whether nobody waits for the answer of a job, which is then refused."""
    if not job.result.done() and job.is_gone and job.age > _CHECK_AFTER and await job.is_gone():
        job.result.set_exception(ClientGoneError())
    return job.result.done()
