"""A bad network for tests: a TCP proxy that cuts connections at random, at a word, or altogether."""

from __future__ import annotations

import asyncio
import contextlib
import random


class RoughNetwork:
    """From a port of its own to another of this machine. ``cut`` is the chance that a piece of data breaks the line."""

    def __init__(self, target: int, cut: float = 0.0, seed: int = 1) -> None:
        self.target = target
        self.cut = cut
        self.down = False
        self.silent = False  # what is sent lies somewhere, and comes when nobody waits for it any more
        self.cuts = 0
        self.port = 0
        self._dice = random.Random(seed)  # noqa: S311  (dice, no secrets)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """Every connection breaks now."""
        for writer in list(self._open):
            writer.transport.abort()
        self.cuts += bool(self._open)
        self._open.clear()

    async def away(self, for_s: float) -> None:
        """Nothing gets through for so long."""
        self.down = True
        self.cut_all()
        await asyncio.sleep(for_s)
        self.down = False

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.down:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            pass
        finally:
            for end in (writer, back):
                self._open.discard(end)
                end.transport.abort()
            for end in (writer, back):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, reader, writer):
        while piece := await reader.read(65_536):
            if self._dice.random() < self.cut:
                self.cuts += 1
                raise ConnectionResetError
            while self.silent:  # noqa: ASYNC110  (a network sets no events)
                await asyncio.sleep(0.01)
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError
