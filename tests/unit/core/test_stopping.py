"""A signal raises one exception, after code that must not be interrupted, and again if something swallowed it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import os, signal, sys
from espsim.core import stopping
from espsim.core.stopping import Stopped, insist, signals, uncut
def send(number=signal.SIGTERM): os.kill(os.getpid(), number)
def ended(stopped): print("stopped", stopped.signum, stopped.status); sys.stdout.flush()
"""


def said(body, *, ignored=()):
    """What a program says in a process of its own."""
    import signal

    done = subprocess.run(
        [sys.executable, "-c", HEAD + body], capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored],
    )  # fmt: skip
    return done.stdout.split("\n")[:-1], done.stderr


@pytest.mark.parametrize(("name", "number"), [("SIGINT", 2), ("SIGTERM", 15), ("SIGHUP", 1)])
def test_each_signal_is_an_exception_that_no_except_exception_takes(name, number):
    body = f"""
try:
    with signals():
        try:
            send(signal.{name})
            signal.pause()
        except Exception:
            print("taken")
except Stopped as stopped: ended(stopped)
send(signal.{name})
print("still here")
"""
    assert said(body) == ([f"stopped {number} {128 + number}", "still here"], "")


def test_a_block_is_not_cut_and_the_first_signal_counts():
    body = """
try:
    with signals():
        with uncut():
            with uncut():
                send(signal.SIGHUP); send(signal.SIGTERM)
                print("inner")
            print("outer")
        print("never")
except Stopped as stopped: ended(stopped)
"""
    assert said(body) == (["inner", "outer", "stopped 1 129"], "")


def test_what_unwinds_is_not_cut_by_a_second_signal():
    body = """
try:
    with signals():
        try:
            send()
            signal.pause()
        finally:
            send(signal.SIGINT); send(); print("tidy")
except Stopped as stopped: ended(stopped)
"""
    assert said(body) == (["tidy", "stopped 15 143"], "")


def test_an_exception_that_a_destructor_swallows_comes_again_and_nothing_is_printed():
    body = """
class Thing:
    def __del__(self): send(); print("in the destructor")
try:
    with signals():
        thing = Thing(); del thing
        while True: signal.pause()
except Stopped as stopped: ended(stopped)
"""
    assert said(body) == (["stopped 15 143"], "")


def test_an_exception_that_some_code_takes_comes_again():
    body = """
stopping._AGAIN = 0.05
try:
    with signals():
        try:
            send()
            signal.pause()
        except BaseException: print("taken")
        while True: signal.pause()
except Stopped as stopped: ended(stopped)
"""
    assert said(body) == (["taken", "stopped 15 143"], "")


def test_an_exception_that_some_code_wraps_is_known():
    body = """
class Field:
    def __set_name__(self, owner, name): send(); signal.pause()
try:
    with signals():
        try: type("Model", (), {"field": Field()})
        except Exception as error: print(type(error).__name__); insist(); print("never")
except Stopped as stopped: ended(stopped)
"""
    lines, stderr = said(body)
    assert lines[-1] == "stopped 15 143"
    assert "never" not in lines
    assert stderr == ""


def test_what_is_ignored_stays_ignored():
    import signal

    body = """
with signals():
    send(signal.SIGHUP); send(signal.SIGINT); print("goes on")
"""
    assert said(body, ignored=[signal.SIGHUP, signal.SIGINT]) == (["goes on"], "")


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_ends_of_other_signals():
    body = """
import time
def child(before, after):
    with uncut():
        pid = os.fork()
        if not pid:
            before(); stopping.forked(); after(); os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
nothing = lambda: None
with signals():
    print(child(nothing, lambda: send(signal.SIGINT)), child(nothing, send), child(send, nothing),
          child(lambda: send(signal.SIGINT), nothing))
"""
    assert said(body) == (["7 -15 143 7"], "")
