"""Work that was there when a worker died is done alone in its process."""

import threading

from tests.stack import eventually
from worker.isolation import Isolation


class Workers:
    """Threads that do work which lasts until it is told to end."""

    def __init__(self):
        self.isolation = Isolation()
        self.stop = threading.Event()
        self.inside = []
        self._ends = {}
        self._threads = []

    def begin(self, name, *, alone=False):
        self._ends[name] = threading.Event()
        self._threads.append(threading.Thread(target=self._work, args=(name, alone)))
        self._threads[-1].start()

    def end(self, *names):
        for name in names:
            self._ends[name].set()
        eventually(lambda: not {*names} & {*self.inside}, 10)

    def join(self):
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _work(self, name, alone):
        with self.isolation.entered(self.stop, alone=alone) as admitted:
            if admitted:
                self.inside.append(name)
                self._ends[name].wait(10)
                self.inside.remove(name)


def test_work_is_done_side_by_side_but_a_suspect_alone_and_before_what_came_later():
    workers = Workers()
    workers.begin("a")
    workers.begin("b")
    eventually(lambda: sorted(workers.inside) == ["a", "b"], 10)
    workers.begin("suspect", alone=True)
    eventually(lambda: workers.isolation._suspects == 1, 10)
    workers.begin("c")
    workers.end("a")
    assert workers.inside == ["b"]
    workers.end("b")
    eventually(lambda: workers.inside == ["suspect"], 10)
    workers.end("suspect")
    eventually(lambda: workers.inside == ["c"], 10)
    workers.end("c")
    workers.join()


def test_suspects_are_not_done_side_by_side_either():
    workers = Workers()
    workers.begin("first", alone=True)
    eventually(lambda: workers.inside == ["first"], 10)
    workers.begin("second", alone=True)
    eventually(lambda: workers.isolation._suspects == 2, 10)
    assert workers.inside == ["first"]
    workers.end("first")
    eventually(lambda: workers.inside == ["second"], 10)
    workers.end("second")
    workers.join()


def test_who_waits_when_the_process_stops_begins_nothing():
    workers = Workers()
    workers.begin("suspect", alone=True)
    eventually(lambda: workers.inside == ["suspect"], 10)
    workers.begin("other")
    workers.begin("another suspect", alone=True)
    workers.stop.set()
    eventually(lambda: workers.isolation._suspects == 1, 10)
    assert workers.inside == ["suspect"]
    workers.end("suspect")
    workers.join()
    assert workers.inside == []
