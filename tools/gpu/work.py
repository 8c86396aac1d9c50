"""Pieces of work: a result is recorded as it comes, what would not fit the time that is left is not begun, what takes longer is
ended, and what fails says why in one line."""
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time

from records import FAILED, LEFT_OUT


class Failed(Exception):
    """Why, in a line."""


class Item:
    """run(seconds left) yields (name, status, values); with parts it is run(seconds left, names) of those wanted."""

    def __init__(self, name, stage, estimate, run, parts=None, least=None):
        self.name, self.stage, self.estimate, self.run, self.parts = name, stage, estimate, run, parts
        self.least = estimate if least is None else least  # what must be left for it to begin

    def names(self):
        return self.parts or [self.name]


def end(process):
    """A process, and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def lines_of(command, seconds, environment=None):
    """Lines of JSON from a command's output, as they come; Failed when it takes longer or ends badly."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, start_new_session=True)
        except OSError as why:
            raise Failed(f"{command[0]}: {why.strerror}")
        deadline, text, selector = time.monotonic() + seconds, b"", selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise Failed(f"ended after {seconds:.0f} s, which was all that was left")
                more = os.read(process.stdout.fileno(), 1 << 16)
                if not more:
                    break
                text += more
                *whole, text = text.split(b"\n")
                for line in whole:
                    if line.startswith(b"{"):
                        yield json.loads(line)
            try:
                code = process.wait(max(1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Failed("it printed its results and did not end")
            if code:
                errors.seek(0)
                said = [x for x in errors.read().decode(errors="replace").splitlines() if x.strip()]
                told = next((x for x in said if "error" in x.lower()), said[-1] if said else "it said nothing")
                raise Failed(f"{told[:300]} (exit code {code})")
        finally:
            end(process)
            selector.close()
            process.stdout.close()


def run_json(command, seconds, environment=None):
    """The last line of JSON that a command prints."""
    last = None
    for last in lines_of(command, seconds, environment):
        pass
    if last is None:
        raise Failed("it printed no result")
    return last


def leave_out(records, name, stage, why, tell):
    """What was wrong before stays so in the file."""
    before = records.all.get(name)
    if before and before["status"] != LEFT_OUT:
        tell(before, LEFT_OUT)
    else:
        tell(records.add(name, stage, LEFT_OUT, why=why))


def work(items, records, deadline, again, tell):
    """Runs what there is no result of, in order. deadline: of time.monotonic()."""
    for item in items:
        wanted = [n for n in item.names() if again or not records.done(n)]
        for n in item.names():
            if n not in wanted:
                tell(records.all[n], "there already")
        if not wanted:
            continue
        left = deadline - time.monotonic()
        share = item.least * (len(wanted) / len(item.names()) if item.parts else 1)
        if left < max(share, 1):
            for n in wanted:
                leave_out(records, n, item.stage, f"needs about {share:.0f} s, {max(0, left):.0f} s were left", tell)
            continue
        begin, came = time.monotonic(), set()
        try:
            for name, status, values in item.run(left, wanted) if item.parts else item.run(left):
                came.add(name)
                tell(records.add(name, item.stage, status, took=round(time.monotonic() - begin, 3), **values))
                begin = time.monotonic()
            if not came.issuperset(wanted):
                raise Failed("it gave no result of this")
        except Exception as what:  # whatever it is, what comes behind it is still wanted
            why = str(what) if isinstance(what, Failed) else f"{type(what).__name__}: {what}"
            late = deadline - time.monotonic() <= 0
            for n in wanted:
                if n not in came and late:
                    leave_out(records, n, item.stage, why, tell)
                elif n not in came:
                    tell(records.add(n, item.stage, FAILED, why=why))
