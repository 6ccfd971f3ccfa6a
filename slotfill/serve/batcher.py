"""Batching of concurrent requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from slotfill.data.sentence import Sentence

MAX_BATCH = 512
"""Number of texts from which a batch takes no further request."""

Tag = Callable[[list[str], int], list[Sentence]]
"""From texts, and the number of readings, to tagged sentences."""


class QueueFullError(Exception):
    """So many texts wait that a request is refused."""


@dataclass(eq=False)
class _Job:
    texts: list[str]
    nbest: int
    result: asyncio.Future[list[Sentence]]


class Batcher:
    """Tags the texts of concurrent requests together, in a thread of its own.

    Requests that arrive while a batch is computed are the next batch. So one that is alone does
    not wait, and the more there are, the larger the batches.
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
        self._jobs: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused."""
        return self.waiting >= self.max_waiting

    async def tag(self, texts: list[str], nbest: int = 0) -> list[Sentence]:
        """Return the tagged `texts`; raises QueueFullError, or what tagging raises."""
        if self.is_full:
            raise QueueFullError
        job = _Job(texts, nbest, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.waiting += len(texts)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await job.result

    async def _work(self) -> None:
        """Tag batch by batch until no request waits."""
        while self._jobs:
            await asyncio.sleep(0)  # Requests that have been received join the batch.
            await self._answer(self._take())

    def _take(self) -> list[_Job]:
        """Return the jobs of the next batch; those whose client gave up are left out."""
        jobs: list[_Job] = []
        size = 0
        while self._jobs and size < MAX_BATCH:
            job = self._jobs.popleft()
            self.waiting -= len(job.texts)
            if not job.result.done():
                jobs.append(job)
                size += len(job.texts)
        return jobs

    async def _answer(self, jobs: Sequence[_Job]) -> None:
        """Tag a batch; if that fails, tag the jobs one by one, so that only one of them fails."""
        if not jobs:
            return
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._tag_jobs, jobs)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    await self._answer([job])
            elif not jobs[0].result.done():
                jobs[0].result.set_exception(error)
            return
        self.on_batch(sum(len(job.texts) for job in jobs))
        for job, sentences in zip(jobs, results, strict=True):
            if not job.result.done():
                job.result.set_result(sentences)

    def _tag_jobs(self, jobs: Sequence[_Job]) -> list[list[Sentence]]:
        """Return the sentences of each job; jobs with the same number of readings go together."""
        results: dict[_Job, list[Sentence]] = {}
        for nbest in {job.nbest for job in jobs}:
            group = [job for job in jobs if job.nbest == nbest]
            tagged = iter(self.tag_batch([text for job in group for text in job.texts], nbest))
            results |= {job: list(islice(tagged, len(job.texts))) for job in group}
        return [results[job] for job in jobs]
