"""Batching: who is tagged together, what is refused, and that nothing is lost."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from service import run_async

from slotfill.data.sentence import Sentence
from slotfill.data.tokenizers import Tokenizer

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

from slotfill.serve.batcher import (
    MAX_BATCH,
    MAX_BATCH_COST,
    Batcher,
    ClientGoneError,
    QueueFullError,
)


class Tagger:
    """Returns the texts as sentences, and remembers the batches."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[tuple[list[str], int]] = []

    def __call__(self, texts: list[str], nbest: int) -> list[Sentence]:
        time.sleep(self.seconds)
        self.batches.append((list(texts), nbest))
        if "bad" in texts:
            raise ValueError("a bad text")
        return list(map(Tokenizer().tokenize, texts))


def texts_of(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def test_requests_that_arrive_together_are_one_batch():
    async def run() -> None:
        answers = await asyncio.gather(*(batcher.tag([f"a{n}", f"b{n}"]) for n in range(10)))
        assert list(map(texts_of, answers)) == [[f"a{n}", f"b{n}"] for n in range(10)]
        await batcher.tag(["alone"])

    tagger, sizes = Tagger(), []
    batcher = Batcher(tagger, 100, sizes.append)
    run_async(run())
    assert [len(texts) for texts, _ in tagger.batches] == sizes == [20, 1]
    assert batcher.waiting == 0


def test_requests_with_other_numbers_of_readings_are_tagged_apart():
    async def run() -> None:
        answers = await asyncio.gather(*(batcher.tag([f"{n}"], nbest=n % 2) for n in range(6)))
        assert list(map(texts_of, answers)) == [[f"{n}"] for n in range(6)]

    tagger = Tagger()
    batcher = Batcher(tagger, 100)
    run_async(run())
    assert sorted((nbest, texts) for texts, nbest in tagger.batches) == [
        (0, ["0", "2", "4"]),
        (1, ["1", "3", "5"]),
    ]


def test_a_batch_has_a_largest_size():
    async def run() -> None:
        await asyncio.gather(*(batcher.tag(["a"] * 100) for _ in range(20)))

    tagger = Tagger()
    batcher = Batcher(tagger, 10_000)
    run_async(run())
    sizes = [len(texts) for texts, _ in tagger.batches]
    assert sum(sizes) == 2000 and max(sizes) == MAX_BATCH


def test_large_requests_wait_for_each_other():
    """If all of them had their turn, none would be done in time at overload."""

    async def run() -> None:
        large = [asyncio.create_task(batcher.tag(["a" * MAX_BATCH_COST] * 3)) for _ in range(3)]
        await large[0]
        assert len(tagger.batches) <= 4

    tagger = Tagger()
    batcher = Batcher(tagger, 100)
    run_async(run())


def test_a_large_request_lets_others_have_their_turn():
    async def run() -> None:
        large = asyncio.create_task(batcher.tag(texts, nbest=1))
        await asyncio.sleep(0)
        assert texts_of(await batcher.tag(["small"])) == ["small"]
        assert not large.done()
        assert texts_of(await large) == texts

    texts = [f"{number} " + "a" * (MAX_BATCH_COST // 5) for number in range(9)]
    tagger = Tagger()
    batcher = Batcher(tagger, 100)
    run_async(run())
    assert sorted(len(each) for each, _ in tagger.batches) == [1, 1, 2, 2, 2, 2]
    assert batcher.waiting == 0


def test_the_rest_of_a_request_is_not_tagged_when_nobody_waits_for_it(monkeypatch):
    async def is_gone() -> bool:
        return True

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batcher.tag(texts), 0.05)
        with pytest.raises(ClientGoneError):
            await batcher.tag(texts, is_gone=is_gone)
        while batcher.waiting:
            await asyncio.sleep(0.01)
        await batcher.tag(["last"])

    monkeypatch.setattr("slotfill.serve.batcher._CHECK_AFTER", 0.05)
    texts = ["a" * MAX_BATCH_COST] * 9
    tagger = Tagger(0.1)
    batcher = Batcher(tagger, 100)
    run_async(run())
    assert len(tagger.batches) <= 5 and batcher.waiting == 0


def test_a_text_that_fails_does_not_fail_others():
    async def run() -> None:
        texts = ["a", "bad", "c", "d"]
        answers = await asyncio.gather(
            *(batcher.tag([text]) for text in texts), return_exceptions=True
        )
        assert [texts_of(answers[index]) for index in (0, 2, 3)] == [["a"], ["c"], ["d"]]
        assert str(answers[1]) == "a bad text"

    batcher = Batcher(Tagger(), 100)
    run_async(run())
    assert batcher.waiting == 0


def test_every_request_is_answered_refused_or_given_up():
    """At 20 times what can be done: every answer is the right one, and the queue ends empty."""

    async def request(number: int) -> str:
        await asyncio.sleep(draw.random() / 10)
        texts = [f"{number}.{index}" for index in range(draw.randrange(1, 4))]
        try:
            answer = await asyncio.wait_for(batcher.tag(texts), draw.choice((0.005, 10)))
        except QueueFullError:
            return "refused"
        except TimeoutError:
            return "given up"
        assert texts_of(answer) == texts
        return "answered"

    async def run() -> list[str]:
        return await asyncio.gather(*map(request, range(2000)))

    draw = random.Random(0)
    tagger = Tagger(0.01)
    batcher = Batcher(tagger, 50)
    outcomes = run_async(run())
    assert len(outcomes) == 2000 and set(outcomes) == {"answered", "refused", "given up"}
    assert batcher.waiting == 0
    tagged = [text for texts, _ in tagger.batches for text in texts]
    assert len(tagged) == len(set(tagged)), "no text is tagged twice"


def test_requests_given_up_are_not_tagged():
    async def run() -> None:
        first = asyncio.create_task(batcher.tag(["first"]))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(batcher.tag(["second"]))
        await asyncio.sleep(0)
        second.cancel()
        await first
        await batcher.tag(["third"])

    tagger = Tagger(0.05)
    batcher = Batcher(tagger, 50)
    run_async(run())
    assert [texts for texts, _ in tagger.batches] == [["first"], ["third"]]
