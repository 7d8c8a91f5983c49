import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cxr_jax.server.batching import MOST, Batcher


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as thread:
        yield thread


def test_everyone_gets_their_own_answer_in_batches(thread):
    sizes = []

    def answer(questions):
        sizes.append(len(questions))
        time.sleep(0.02)
        return [2 * question for question in questions]

    async def run():
        batcher = Batcher(answer, thread)
        return await asyncio.gather(*map(batcher.ask, range(100)))

    assert asyncio.run(run()) == [2 * number for number in range(100)]
    assert sum(sizes) == 100
    assert max(sizes) == MOST
    assert len(sizes) <= 5


def test_what_takes_long_goes_one_by_one_and_lets_others_between(thread):
    order = []

    def slow(questions):
        order.append(("slow", len(questions)))
        time.sleep(0.05)
        return questions

    def quick(questions):
        order.append(("quick", len(questions)))
        return questions

    async def run():
        one, many = Batcher(slow, thread, most=1), Batcher(quick, thread)
        waiting = [asyncio.create_task(one.ask(number)) for number in range(3)]
        await asyncio.sleep(0.02)
        await asyncio.gather(*(many.ask(number) for number in range(5)), *waiting)

    asyncio.run(run())
    assert order == [("slow", 1), ("quick", 5), ("slow", 1), ("slow", 1)]


def test_a_lone_question_waits_for_nobody(thread):
    async def run():
        return await asyncio.wait_for(Batcher(lambda questions: questions, thread).ask("x"), 5)

    assert asyncio.run(run()) == "x"


def test_a_fault_reaches_all_who_asked_and_the_next_are_answered(thread):
    def answer(questions):
        if "bad" in questions:
            raise ValueError("bad")
        return questions

    async def run():
        batcher = Batcher(answer, thread)
        faults = await asyncio.gather(batcher.ask("bad"), batcher.ask("bad"), return_exceptions=True)
        return faults, await batcher.ask("good")

    faults, good = asyncio.run(run())
    assert [type(fault) for fault in faults] == [ValueError] * 2
    assert good == "good"


def test_who_goes_away_holds_nobody_up(thread):
    begun, gate = threading.Event(), threading.Event()

    def answer(questions):
        begun.set()
        gate.wait(10)
        return questions

    async def run():
        batcher = Batcher(answer, thread)
        gone = asyncio.create_task(batcher.ask("gone"))
        await asyncio.to_thread(begun.wait)
        stays = asyncio.create_task(batcher.ask("stays"))
        gone.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.wait_for(stays, 10)

    assert asyncio.run(run()) == "stays"
