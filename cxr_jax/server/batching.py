"""Requests that arrive together are answered together, in the one thread that has the model."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")
MOST = 32  # at a time, as `retrieval.model` encodes them


class Batcher(Generic[Question, Answer]):
    """Collects what is asked while the thread is busy, and hands it over in one call.

    Args:
      answer: as many questions to as many answers; what it raises, all who asked get.
      thread: of one worker; batchers that share it take turns.
      most: at a time.
    """

    def __init__(self, answer: Callable[[list[Question]], list[Answer]], thread: ThreadPoolExecutor, most: int = MOST):
        self._answer, self._thread, self._most = answer, thread, most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """One question's answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                answers = await loop.run_in_executor(self._thread, self._answer, [question for question, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():  # cancelled, where who asked has gone
                        future.set_result(answer)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
        self._task = None
