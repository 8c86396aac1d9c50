"""PyTorch's part of tools/gpu/check on the CPU, with tiny shapes: what is trained counts as ours does, losses fall, the small
training run is PyTorch's, and a run that teaches nothing is called wrong."""
import json
import subprocess
import sys

import support
import cases


class Peers(support.Checked):
    def planned(self, method):
        done = subprocess.run([support.CTLC, "plan", str(cases.spec("tiny", method)), "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def test_peers(self):
        self.assertEqual(self.check("peers", "--only", "eager"), 0)
        got = self.records()
        for method in ("double", "lora"):
            ours = self.planned(method)
            losses = set()
            for way in ("whole", "parts", "checkpoint"):
                r = got[f"peer tiny {method} 4x16 eager, {way}"]
                self.assertEqual((r["status"], r["trained"], r["parameters"]), ("ok", ours["trained"], ours["parameters"]))
                self.assertLess(r["losses"][-1], r["losses"][0])
                losses.add(round(r["losses"][0], 3))
            self.assertEqual(len(losses), 1)  # one batch, one begin, in every way
        self.assertIn("| tiny lora", self.said)

    def test_training(self):
        self.assertEqual(self.check("correct", "--only", "correct training"), 0)
        self.assertLess(self.records()["correct training"]["apart"], 1e-4)
        other = self.folder / "ctlc"
        other.write_text(f"#!/bin/sh\nexec '{support.CTLC}' \"$@\" --set lr=6e-3\n")
        other.chmod(0o755)
        self.assertEqual(self.check("correct", "--again", "--only", "correct training", ctlc=other), 1)
        self.assertEqual(self.records()["correct training"]["status"], "wrong")


if __name__ == "__main__":
    assert sys
    support.main()
