import os
import signal
import threading

import pytest

from stagewise.interrupts import handled, held


def test_a_handler_lasts_as_long_as_its_block() -> None:
    before, received = signal.getsignal(signal.SIGTERM), list[int]()
    with handled(lambda number, frame: received.append(number), signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_block_leaves_behind_is_undone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handled(None, signal.SIGTERM):
        assert signal.getsignal(signal.SIGTERM) is before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_held_comes_when_the_block_ends() -> None:
    seen = list[int | None]()

    def work() -> None:
        with held() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            seen.append(stop.number)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [signal.SIGINT]


def test_what_is_ignored_stays_ignored() -> None:
    with handled(signal.SIG_IGN, signal.SIGTERM), held() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number is None


def test_another_thread_than_the_main_one_handles_nothing() -> None:
    failed = list[BaseException]()

    def work() -> None:
        try:
            with handled(lambda number, frame: None, signal.SIGTERM), held():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
