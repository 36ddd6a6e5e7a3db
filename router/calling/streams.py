"""Streams that the caller reads: the model that answers is settled before the first piece is handed out."""

from __future__ import annotations

import _thread
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Self

from router.calling.attempt import Failed
from router.calling.litellm_call import Reply, aclose, anext_piece, close, next_piece
from router.calling.reply import counted_in, finish_reason_of, says_something
from router.calling.running import RunningAttempt
from router.errors import StreamBroken


class Progress:
    """How far a stream has come. It reads nothing itself: it is given each piece, and says what to hand out.

    Pieces before the first token are held, because another model may answer after all. The piece that ends
    the answer is held until what follows is known: by then the attempt is reported, with its token counts,
    whether the caller reads on or not. The piece with nothing but token counts goes to callers who asked for
    it (`stream_options`); otherwise it is kept for the cost.

    Attributes:
        ready: pieces to hand out, in order.
        opened: the first token was there: no other model can answer.
        done: nothing more is to be read.
        broken: what went wrong.
    """

    def __init__(self, running: RunningAttempt) -> None:
        """Begin with nothing."""
        self.running = running
        self.ready: deque[Reply] = deque()
        self.opened = False
        self.done = False
        self.broken: Failed | None = None
        self._held: list[Reply] = []
        self._ending = False

    @property
    def opening(self) -> bool:
        """It is not known yet whether this model answers."""
        return not (self.opened or self.done)

    def take(self, piece: Reply) -> None:
        """The next piece, None at the end, or what went wrong."""
        if isinstance(piece, Failed) and not self._ending:
            self.done = True
            self.broken = self.running.failed(piece, "broken_stream" if self.opened else None)
        elif piece is None or isinstance(piece, Failed):
            self.done = True
            self._release()
            self.running.finished()
        else:
            self._add(piece)

    def leave(self, error: BaseException | None = None) -> None:
        """The caller does not wait for the rest."""
        if not self.done:
            self.done = True
            self.running.cancelled(error)
        self.ready.clear()

    def raise_if_broken(self) -> None:
        """Tell the caller, once, that the stream ended before its answer did.

        Raises:
            StreamBroken: from the provider's error.
        """
        failed, self.broken = self.broken, None
        if failed is not None:
            raise StreamBroken(self.running.model, failed.told) from failed.error

    def _add(self, piece: Reply) -> None:
        self.running.pieces.append(piece)
        saying = says_something(piece)
        if saying:
            self._ending = finish_reason_of(piece) is not None
        elif not self.running.call.wants_usage and counted_in(piece) is not None:
            return
        self._held.append(piece)
        if (saying or self.opened) and not self._ending:
            self._release()

    def _release(self) -> None:
        if not self.opened:
            self.opened = True
            self.running.note_first_token()
        self.ready.extend(self._held)
        self._held.clear()


class _ReadByTheCaller:
    """What a stream tells of itself."""

    def __init__(self, progress: Progress) -> None:
        """Show how far the stream has come."""
        self._progress = progress

    @property
    def model(self) -> str:
        """The model that answers."""
        return self._progress.running.model

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the caller's arguments it did not get as given, one sentence each."""
        return self._progress.running.call.notes


class Stream(_ReadByTheCaller):
    """The pieces of an answer, as LiteLLM makes them; `with` or `close` hangs up early.

    Iterating raises `StreamBroken` where the answer breaks off. A silence longer than the timeout breaks it
    too; a provider that keeps the line alive without sending anything is only noticed by `AsyncStream`.
    """

    def __init__(self, source: Reply, progress: Progress) -> None:
        """Read `source`, LiteLLM's stream; `open` is the usual way."""
        super().__init__(progress)
        self._source = source

    @classmethod
    def open(cls, source: Reply, running: RunningAttempt) -> Self | Failed:
        """The stream with its first token there, or what went wrong before it."""
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
            # Garbage is collected at any moment, even while this very thread holds a lock of the observer's.
            with suppress(RuntimeError):  # the interpreter is shutting down
                _thread.start_new_thread(_abandon, (self._source, self._progress))

    def close(self) -> None:
        """Hang up; what was not read is lost."""
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
    """Nobody holds the stream any more."""
    progress.leave()
    close(source)


class AsyncStream(_ReadByTheCaller):
    """Like `Stream`, for async code: `async with` or `aclose` hangs up early.

    A piece that does not come within the timeout breaks the stream, even where the provider keeps the line
    alive. So does a task that is cancelled while it waits for one.
    """

    def __init__(self, pieces: AsyncGenerator[Reply, None], progress: Progress) -> None:
        """Hand out `pieces`; `open` is the usual way."""
        super().__init__(progress)
        self._pieces = pieces

    @classmethod
    async def open(cls, source: Reply, running: RunningAttempt) -> Self | Failed:
        """The stream with its first token there, or what went wrong before it."""
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
        """Hang up; what was not read is lost."""
        await self._pieces.aclose()


async def _read(source: Reply, progress: Progress) -> AsyncGenerator[Reply, None]:
    """None once it is known whether the stream opens, then its pieces.

    A generator, because the event loop closes one that is garbage: in its own thread, between two steps.
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
