"""The garbage collector is off only while a graph is built: with threads, with errors, and when it was off before."""

import gc
import sys
import threading

import pytest

from archcalc import analyze, audit, load, parse
from archcalc.graph.gc_pause import uncollected
from archcalc.spec.expansion import Expansion

SPEC = "name: a\ninput: [3, 8, 8]\nlayers: ['conv(4, 3) | relu']\n"


@pytest.fixture(autouse=True)
def collector():
    """The collector as it was before the test."""
    was = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if was else gc.disable)()


@pytest.fixture
def eager_threads():
    """Threads that change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@uncollected
def enabled():
    return gc.isenabled()


@uncollected
def fail():
    raise KeyboardInterrupt


def test_it_is_off_while_a_graph_is_built():
    assert not enabled()
    assert gc.isenabled()


def test_threads_leave_it_on(eager_threads):
    """8 threads build 300 graphs each."""
    built = []
    threads = [threading.Thread(target=lambda: built.extend(parse(SPEC) for _ in range(300))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 2400
    assert gc.isenabled()


def test_two_threads_one_of_which_starts_while_the_other_runs(monkeypatch):
    """The worst order: the second reads whether the collector is on, the first ends, the second goes on."""
    inside, second_waits, first_ended = threading.Event(), threading.Event(), threading.Event()
    read, seen = gc.isenabled, []

    def read_and_wait():
        state = read()
        if threading.current_thread() is second:
            second_waits.set()
            first_ended.wait()
        return state

    @uncollected
    def run_first():
        inside.set()
        second_waits.wait()
        seen.append(read())

    def run_second():
        enabled()
        second_waits.set()

    first, second = threading.Thread(target=run_first), threading.Thread(target=run_second)
    monkeypatch.setattr(gc, "isenabled", read_and_wait)
    first.start()
    inside.wait()
    second.start()
    first.join()
    first_ended.set()
    second.join()
    assert seen == [False]
    assert read()


def test_an_error_turns_it_on_again():
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert gc.isenabled()


def test_a_call_in_a_call_does_not_turn_it_on():
    assert uncollected(lambda: (enabled(), gc.isenabled()))() == (False, False)
    assert gc.isenabled()


def test_who_has_it_off_keeps_it_off():
    gc.disable()
    enabled()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not gc.isenabled()


def test_what_the_caller_changes_in_between_is_kept():
    gc.disable()
    uncollected(gc.enable)()
    assert gc.isenabled()
    uncollected(gc.disable)()
    assert gc.isenabled(), "it was off already: that the caller turned it off cannot be seen"


def garbage(call):
    """How many objects a call leaves to the collector, when it runs a second time: what is read once is kept."""
    call()
    gc.collect()
    gc.disable()
    try:
        call()
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("call", [analyze, audit])
def test_a_network_is_freed_at_once(call):
    """Without cycles: networks would pile up in memory until the collector comes."""
    assert garbage(lambda: call(load("googlenet"))) == 0


def test_the_test_above_would_notice(monkeypatch):
    plain = Expansion.__init__
    monkeypatch.setattr(Expansion, "__init__", lambda self, spec: plain(self, spec) or setattr(self, "own", self.run))
    assert garbage(lambda: load("googlenet")) > 100
