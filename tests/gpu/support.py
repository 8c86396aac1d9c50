"""What the tests of tools/gpu/check share: a folder for results, the command, and ways to make a result wrong."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu"))
sys.dont_write_bytecode = True
CTLC = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build/ctlc"
STAND_INS = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None


class Checked(unittest.TestCase):
    def setUp(self):
        self.held = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.held.name)
        self.addCleanup(self.held.cleanup)

    def check(self, *arguments, ctlc=CTLC):
        """The exit code; what it printed is in self.said."""
        done = subprocess.run([sys.executable, str(ROOT / "tools/gpu/check"), *arguments, "--host", "--out", str(self.folder), "--ctlc",
                               str(ctlc)], capture_output=True, text=True)
        self.said = done.stdout + done.stderr
        return done.returncode

    def records(self, device="the-host"):
        """The last of each item."""
        path = self.folder / f"{device}.jsonl"
        return {r["item"]: r for r in map(json.loads, path.read_text().splitlines())}

    def liar(self, script):
        """A ctlc whose output goes through sed."""
        path = self.folder / "ctlc"
        path.write_text(f"#!/bin/sh\n'{CTLC}' \"$@\" | sed -E '{script}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path


def main():
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    unittest.main(argv=sys.argv[:1], verbosity=2)
