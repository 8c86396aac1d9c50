"""PyTorch's part of tools/gpu/check on the CPU, with tiny shapes: what is trained counts as ours does, losses fall, the small
training run is PyTorch's, and a run that teaches nothing is called wrong."""
import json
import subprocess
import sys
import types

import support
import cases
import peer
import speed


class Failures(support.Checked):
    """Of a peer that is a script: a way that fails, one that teaches nothing, one that does not fit, one that is right."""

    def test_statuses(self):
        lines = [dict(parameters=2, trained=1, making=0, versions="v"), dict(tokens="4x16", variant="a", fits=False, failed="E: no"),
                 dict(tokens="4x16", variant="b", fits=True, losses=[2, 2], tokens_per_second=1),
                 dict(tokens="4x16", variant="c", fits=False, why="out of memory"),
                 dict(tokens="4x16", variant="d", fits=True, losses=[2, 1], tokens_per_second=1)]
        fake = self.folder / "python"
        fake.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(map(json.dumps, lines)) + "\nEND\n")
        fake.chmod(0o755)
        o = types.SimpleNamespace(peer_device="cpu", peer_steps=4, peer_python=str(fake), environment=None)
        item, = speed.peer_items(o, "peers", "tiny", "lora", [("4x16", v) for v in "abcd"])
        got = {n.split()[-1]: (status, values.get("why")) for n, status, values in item.run(20, item.names())}
        self.assertEqual(got["a"], ("failed", "E: no"))
        self.assertEqual(got["b"][0], "wrong")
        self.assertEqual(got["c"], ("ok", "out of memory"))
        self.assertEqual(got["d"], ("ok", None))

    def test_failure(self):
        self.assertEqual(peer.failure(RuntimeError("backend: CUDA out of memory. Tried to")), dict(fits=False, why="backend: CUDA out of memory"))
        self.assertEqual(peer.failure(ValueError("no\nmore"))["failed"], "ValueError: no")


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

    def test_attend(self):
        self.assertEqual(self.check("attend"), 0)
        r = self.records()["attend peer tiny 4x16"]
        self.assertAlmostEqual(r["backward_rate"] * r["backward"], 4 * 4 * 136 * 16 * 5, delta=1)

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
