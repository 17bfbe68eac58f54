"""`pipeline.table.store.process_id`: a process is dead only where that is known."""

import dataclasses
import os
import socket

from pipeline.table.store.process_id import Process


def test_this_process_lives():
    this = Process.this()
    assert (this.host, this.pid, this.is_dead) == (socket.gethostname(), os.getpid(), False)
    assert str(this) == f"host {this.host}, process {this.pid}"


def test_a_process_that_ended_here_is_dead_and_one_elsewhere_is_not_judged(start_python):
    ended = start_python("")
    ended.communicate()
    here = dataclasses.replace(Process.this(), pid=ended.pid)
    assert here.is_dead
    assert not dataclasses.replace(here, place="another machine").is_dead
    assert not dataclasses.replace(here, place="").is_dead
