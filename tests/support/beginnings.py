# SPDX-License-Identifier: Apache-2.0
"""What tests start begins with default signals and open streams, however the tests themselves were started.

A shell's background job ignores SIGINT and SIGQUIT, nohup ignores SIGHUP, and children inherit that: a test that
interrupts a child would wait for ever. A handler is not inherited by a program, so one that does nothing keeps the
tests themselves as deaf as they were asked to be, and gives their children the default action.
"""
import os
import signal


def _ignore(number, frame):
    pass


def begin_as_by_default():
    """Call once, in the main thread, before anything is started."""
    for number in signal.valid_signals():
        if number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, which gives them back to children
            continue
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _ignore)
            if number == signal.SIGHUP:
                _leave_the_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _open_streams()


def _leave_the_terminal():
    """nohup means to outlive the terminal, but children do not ignore its end any more: they must not hear of it."""
    try:
        os.setsid()
    except PermissionError:  # the leader of a group of its own
        pass


def _open_streams():
    """A stream that was closed would be the first file that a child opens."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number that is free
