"""Calls of a function in other processes or on other machines, by dask.distributed.

The engine `dask` is a cluster on this machine; `dask=ADDRESS` is the one whose scheduler runs there. A call whose
worker dies runs again on another worker.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, NamedTuple, TypeVar

from archcalc.errors import ArchcalcError, needs, one_line, shorten

T = TypeVar("T")
R = TypeVar("R")
RETRIES = 3  # of a call that fails, or whose worker dies
PATIENCE = 10  # seconds in which a scheduler must answer
EXAMPLE = "write dask, or dask=tcp://HOST:8786 for a scheduler that runs"

QUIET: dict[str, Any] = {  # no log, and no page of its state
    "silence_logs": logging.CRITICAL,
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
}


class Lost(NamedTuple):
    """Why a call has no result after all retries."""

    why: str


def outcomes(
    engine: str, jobs: int, function: Callable[[T], R], items: Iterable[T]
) -> Generator[tuple[T, R | Lost], None, None]:
    """Call a function with each item; yield the items with what came of them, as the calls end.

    Each worker has two calls at a time, so that results do not pile up. `jobs` is the number of workers of `dask`.
    Raises ArchcalcError for an unknown engine, and for a scheduler without an answer or without workers.
    """
    left = iter(items)
    with _client(engine, jobs) as client:
        from distributed import as_completed  # _client raises if it is missing

        running: dict[Any, T] = {}
        ended = as_completed(loop=client.loop)

        def feed() -> None:
            for item in islice(left, max(1, 2 * sum(client.ncores().values()) - len(running))):
                future = client.submit(function, item, retries=RETRIES, pure=False)
                running[future] = item
                ended.add(future)

        try:
            feed()
            for future in ended:
                yield running.pop(future), _outcome(future)
                feed()
        except Exception as error:  # of a client without its scheduler
            yield from ((item, Lost(f"the scheduler is gone: {_reason(error)}")) for item in [*running.values(), *left])


def _outcome(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return Lost("its workers died again and again")
    except Exception as error:
        return Lost(_reason(error))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return shorten(one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__), 200)


@contextmanager
def _client(engine: str, jobs: int) -> Iterator[Any]:
    """Open a client of an engine, without the log of dask."""
    kind, equals, address = engine.partition("=")
    if kind != "dask" or bool(equals) != bool(address):
        raise ArchcalcError(f"unknown engine {shorten(repr(engine))}; {EXAMPLE}")
    if address and jobs > 1:
        raise ArchcalcError("jobs are the workers of a cluster on this machine; with dask=ADDRESS omit them")
    try:
        import dask
        import distributed
    except ImportError:
        raise ArchcalcError(needs("the engine dask", "distributed", "dask")) from None
    with ExitStack() as stack:
        stack.enter_context(_silent("distributed"))
        where: Any = address
        if address:
            _require_workers(distributed, address)
        else:
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES}))
            try:
                with _without_interrupts():
                    where = stack.enter_context(distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, **QUIET))
            except Exception as error:
                hint = 'a script needs the line if __name__ == "__main__": before its first call'
                raise ArchcalcError(f"dask cannot start processes here: {_reason(error)}; {hint}") from None
        client = stack.enter_context(distributed.Client(where))
        try:
            yield client
        finally:
            with _without_interrupts():
                stack.close()


def _require_workers(distributed: Any, address: str) -> None:
    """Raise ArchcalcError unless a scheduler with workers answers; a client would wait for other programs forever."""

    async def asked() -> Any:
        arguments = distributed.Security().get_connection_args("client")
        async with distributed.rpc(address, connection_args=arguments) as scheduler:
            return await asyncio.wait_for(scheduler.identity(), PATIENCE)

    shown = shorten(one_line(address))
    try:
        with ThreadPoolExecutor(1) as pool:  # in a notebook, a loop runs in this thread
            found = pool.submit(asyncio.run, asked()).result()
    except Exception as error:
        reason = (
            f"no answer in {PATIENCE} s" if isinstance(error, TimeoutError | asyncio.TimeoutError) else _reason(error)
        )
        raise ArchcalcError(f"no scheduler at {shown}: {reason}; start one with: dask scheduler") from None
    if found.get("type") != "Scheduler" or not found.get("workers"):
        raise ArchcalcError(f"no scheduler with workers at {shown}; start one with: dask worker {shown}")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the block ends; the processes and threads that start in it never get it."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # otherwise the first process starts it, which lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a library and what belongs to it from logging."""
    loggers = [logging.getLogger(own) for own in logging.root.manager.loggerDict if own.partition(".")[0] == name]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
