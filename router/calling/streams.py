"""Streams for the caller: the caller gets no piece before it is certain which model answers."""

from __future__ import annotations

import _thread
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Self

from router.calling.attempt import Failed
from router.calling.litellm_call import Reply, aclose, anext_piece, close, next_piece
from router.calling.reply import counted_in, finish_reason_of, holds_content
from router.calling.running import RunningAttempt
from router.errors import StreamBroken
from router.records import Decision


class Progress:
    """The state of a stream. It does not read: the stream feeds it each piece and hands out what is `ready`.

    It holds pieces back before the first token, because another model may still answer. It also holds the
    piece that ends the answer until the next read, so that the attempt is reported with its token counts even
    if the caller stops there. A piece with nothing but token counts goes only to callers who asked for it
    (`stream_options`); the cost needs it in any case.

    Attributes:
        ready: pieces to hand out, in order.
        opened: the first token has come, so no other model can answer.
        done: there is nothing more to read.
        broken: the failure, until the caller knows of it.
    """

    def __init__(self, running: RunningAttempt) -> None:
        self.running = running
        self.ready: deque[Reply] = deque()
        self.opened = False
        self.done = False
        self.broken: Failed | None = None
        self._held: list[Reply] = []
        self._ending = False
        self._has_content = False

    @property
    def opening(self) -> bool:
        """Whether it is still uncertain that this model answers."""
        return not (self.opened or self.done)

    def take(self, piece: Reply) -> None:
        """Take the next piece, None at the end, or a failure."""
        if isinstance(piece, Failed) and piece.kind == "empty" and self._has_content:
            piece = None  # only the finish reason is missing
        if isinstance(piece, Failed) and (piece.kind == "empty" or not self._ending):
            self.done = True
            self.broken = self.running.failed(piece, "broken_stream" if self.opened else None)
        elif piece is None or isinstance(piece, Failed):
            self.done = True
            self._release()
            self.running.finished()
        else:
            self._add(piece)

    def leave(self, error: BaseException | None = None) -> None:
        """Stop: the caller does not wait for the rest."""
        if not self.done:
            self.done = True
            self.running.cancelled(error)
        self.ready.clear()

    def raise_if_broken(self) -> None:
        """Raise once if the stream ended before its answer did.

        Raises:
            StreamBroken: from the provider's error.
        """
        failed, self.broken = self.broken, None
        if failed is not None:
            raise StreamBroken(self.running.model, failed.summary) from failed.error

    def _add(self, piece: Reply) -> None:
        self.running.pieces.append(piece)
        content, ends = holds_content(piece), finish_reason_of(piece) is not None
        self._has_content = self._has_content or content
        if content or ends:
            self._ending = ends
        elif counted_in(piece) is not None:
            if not self.running.call.wants_usage:
                return
        elif getattr(piece, "usage", None):  # LiteLLM's guess at an answer whose provider counted nothing
            return
        self._held.append(piece)
        if (content or ends or self.opened) and not self._ending:
            self._release()

    def _release(self) -> None:
        if not self.opened:
            self.opened = True
            self.running.note_first_token()
        self.ready.extend(self._held)
        self._held.clear()


class _ModelAndNotes:
    """The public attributes of both kinds of stream.

    Attributes:
        decision: which model answers, why, and its `call_id` for feedback.
    """

    decision: Decision

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def model(self) -> str:
        """The model that answers."""
        return self._progress.running.model

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each argument that the model did not get as the caller set it."""
        return self._progress.running.call.notes


class Stream(_ModelAndNotes):
    """The pieces of an answer, as LiteLLM yields them; `with` or `close` hangs up early.

    Iteration raises `StreamBroken` if the answer breaks off or pauses for longer than the timeout. Only
    `AsyncStream` notices a provider that keeps the connection alive without sending anything.
    """

    def __init__(self, source: Reply, progress: Progress) -> None:
        """Read LiteLLM's stream; callers use `open`."""
        super().__init__(progress)
        self._source = source

    @classmethod
    def open(cls, source: Reply, running: RunningAttempt) -> Self | Failed:
        """Read up to the first token: the stream, or the failure before it."""
        progress = Progress(running)
        stream = cls(source, progress)
        while progress.opening:
            stream._fetch()
        return progress.broken or stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Reply:
        progress = self._progress
        while not progress.ready:
            if progress.done:
                progress.raise_if_broken()
                raise StopIteration
            self._fetch()
        return progress.ready.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._progress.done:
            # Garbage collection runs at any moment, even while this thread holds a lock of the observer's.
            with suppress(RuntimeError):  # the interpreter is shutting down
                _thread.start_new_thread(_abandon, (self._source, self._progress))

    def close(self) -> None:
        """Hang up; unread pieces are lost."""
        self._progress.leave()
        close(self._source)

    def _fetch(self) -> None:
        try:
            self._progress.take(next_piece(self._source))
        except BaseException as error:
            self._progress.leave(error)
            raise
        if self._progress.broken:
            close(self._source)


def _abandon(source: Reply, progress: Progress) -> None:
    """Hang up a stream that nobody holds any more."""
    progress.leave()
    close(source)


class AsyncStream(_ModelAndNotes):
    """Like `Stream`, for async code: `async with` or `aclose` hangs up early.

    A piece that exceeds the timeout breaks the stream, even if the provider keeps the connection alive. So
    does the cancellation of a task that waits for a piece.
    """

    def __init__(self, pieces: AsyncGenerator[Reply, None], progress: Progress) -> None:
        """Hand out `pieces`; callers use `open`."""
        super().__init__(progress)
        self._pieces = pieces

    @classmethod
    async def open(cls, source: Reply, running: RunningAttempt) -> Self | Failed:
        """Read up to the first token: the stream, or the failure before it."""
        progress = Progress(running)
        pieces = _read(source, progress)
        await anext(pieces, None)
        return progress.broken or cls(pieces, progress)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Reply:
        return await anext(self._pieces)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up; unread pieces are lost."""
        await self._pieces.aclose()


async def _read(source: Reply, progress: Progress) -> AsyncGenerator[Reply, None]:
    """Yield None as soon as the stream opens, then its pieces.

    This is a generator because the event loop closes a discarded one in its own thread, between two steps.
    """
    timeout_s = progress.running.call.timeout_s
    try:
        while progress.opening:
            progress.take(await anext_piece(source, timeout_s))
        if progress.broken:
            return
        yield None
        while progress.ready or not progress.done:
            if progress.ready:
                yield progress.ready.popleft()
            else:
                progress.take(await anext_piece(source, timeout_s))
        progress.raise_if_broken()
    except GeneratorExit:
        progress.leave()
        raise
    except BaseException as error:
        progress.leave(error)
        raise
    finally:
        await aclose(source)
