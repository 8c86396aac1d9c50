"""tools/gpu/check without a GPU: results that are wrong are called so, what was done is not done again, a deadline is kept."""
import subprocess
import sys
import time
import types
import unittest

import support
import attend
import cases
import conform
import cuda
import host
import records
import report
import sanitize
import work


class Conform(support.Checked):
    """Faults in the stand-ins: what they do is then compared with the right ones."""

    def planted(self, old, new, nth=0):
        text = (support.ROOT / "tests/cuda/tensor.h").read_text()
        at = -1
        for _ in range(nth + 1):
            at = text.index(old, at + 1)
        path = self.folder / "tensor.h"
        path.write_text(text[:at] + new + text[at + len(old):])
        return {name: status for item in conform.items(host.Host(str(path)), host.Host()) for name, status, _ in item.run(60)}

    def test_right(self):
        for order, landing in ((1, 0), (2, 1)):
            for item in conform.items(host.Host(order=order, landing=landing), host.Host(landing=1)):
                for name, status, values in item.run(60):
                    self.assertEqual((name, status, values["wrong"]), (name, "ok", 0))
                    self.assertGreaterEqual(values["words"], 32768)

    def wrong(self, statuses):
        return {n.split()[1] for n, s in statuses.items() if s == "wrong"}

    def test_planted(self):
        self.assertEqual(self.wrong(self.planted("2 * t + i % 2", "2 * t + (i + 1) % 2")), {"mma", "mma_near"})
        self.assertEqual(self.wrong(self.planted("k / 8 * 2 + i / 2", "k / 8 + i / 2 * 2")), {"mma", "mma_near"})
        self.assertEqual(self.wrong(self.planted("low | (uint32_t)high << 16", "high | (uint32_t)low << 16")), {"matrices"})
        self.assertEqual(self.wrong(self.planted("turned ? w[8 * m + 2 * t].row[g]", "turned ? w[8 * m + 2 * t].row[0]")), {"matrices"})
        self.assertEqual(self.wrong(self.planted("(char *)c->to + c->bytes, 0,", "(char *)c->to + c->bytes, 1,")), {"copies"})
        self.assertEqual(self.wrong(self.planted("host_lane() ^ lanes", "host_lane() ^ 1")), {"shuffle"})
        self.assertEqual(self.wrong(self.planted("return exp2f(x)", "return exp2f(x) * 1.000001f")), {"near"})

    def test_comparisons(self):
        one = conform.bits(1.0)
        self.assertIsNotNone(conform.exact(one, one + 1))
        self.assertIsNone(conform.exact_real(0x7fc00000, 0xffffffff))
        self.assertIsNotNone(conform.exact_real(0x7fc00000, one))
        self.assertIsNone(conform.within(1e-6, 0)(one, one + 1))
        self.assertIsNotNone(conform.within(1e-6, 0)(one, one + 100))
        self.assertIsNotNone(conform.within(1e-6, 0)(0x7fc00000, one))


class Frame(support.Checked):
    def test_again_and_deadline(self):
        self.assertEqual(self.check("conform"), 0)
        lines = (self.folder / "the-host.jsonl").read_text()
        self.assertEqual({r["status"] for r in self.records().values()}, {"ok"})
        self.assertEqual(len(self.records()), len(conform.KERNELS))
        # A line that a kill cut short is dropped, its result and a wrong one are measured anew, and nothing else is.
        whole = lines.splitlines(keepends=True)
        whole[3] = whole[3].replace('"status": "ok"', '"status": "wrong"')
        (self.folder / "the-host.jsonl").write_text("".join(whole[:-1]) + whole[-1][:40])
        self.assertEqual(self.check("conform"), 0)
        self.assertEqual(self.said.count("there already"), len(whole) - 2)
        self.assertEqual((self.folder / "the-host.jsonl").read_text().count("\n"), len(whole) + 1)
        self.assertIn("| conform |     12 |    12 |", self.said)
        self.assertTrue((self.folder / "the-host.md").read_text().startswith("# the host\n"))
        self.assertEqual(self.check("correct", "conform", "--deadline", "0"), 0)
        self.assertIn("left out", self.said)
        self.assertEqual(self.records()["correct llama f32"]["status"], "left out")
        self.assertEqual(self.records()["conform mma"]["status"], "ok")

    def test_refuses(self):
        self.assertEqual(self.check("confirm"), 2)
        self.assertIn("there is no stage confirm", self.said)
        self.assertEqual(self.check("conform", ctlc=self.folder / "none"), 1)
        self.assertIn("tools/gpu/pack makes", self.said)
        (self.folder / "the-host.jsonl").write_text('{"item": "x"}\n')
        self.assertEqual(self.check("conform"), 1)
        self.assertIn("line 1: this is no result", self.said)

    def test_work(self):
        """A piece that fails, one that hangs, one that gives half of its parts, one that is not begun; the rest is done."""
        r = records.Records(self.folder, "A device, 80GB", "build")
        self.assertEqual(r.path.name, "a-device-80gb.jsonl")

        def run(*command):
            return lambda left, *wanted: ((n, "ok", v) for n, v in ((x["n"], x) for x in work.lines_of(["sh", "-c", *command], min(left, 1))))
        items = [work.Item("bad", "s", 0, run("echo error: no such thing >&2; exit 3")),
                 work.Item("slow", "s", 0, run("sleep 60")),
                 work.Item("half", "s", 0, run('echo "{\\"n\\": \\"a\\"}"; exit 1'), parts=["a", "b"]),
                 work.Item("long", "s", 1000, run("true")),
                 work.Item("odd", "s", 0, lambda left: 1 // 0),
                 work.Item("good", "s", 0, run('echo noise; echo "{\\"n\\": \\"good\\"}"'))]
        begin = time.monotonic()
        work.work(items, r, begin + 30, False, lambda *_: None)
        self.assertLess(time.monotonic() - begin, 20)
        told = {n: (x["status"], x.get("why", "")) for n, x in r.all.items()}
        self.assertEqual(told["bad"], ("failed", "error: no such thing (exit code 3)"))
        self.assertEqual(told["slow"], ("failed", "ended after 1 s, which was all that was left"))
        self.assertEqual((told["a"][0], told["b"][0]), ("ok", "failed"))
        self.assertEqual(told["long"][0], "left out")
        self.assertIn("ZeroDivisionError", told["odd"][1])
        self.assertEqual(told["good"][0], "ok")
        self.assertIn("- slow: failed: ended after 1 s", report.text(r))

    def test_ceiling(self):
        """Against the published counts of parameters: all of LLaMA2-7B's but its table and norms; LLaMA3-8B's."""
        self.assertEqual(cases.product_parameters("llama2_7b"), 6738415616 - 32000 * 4096 - 65 * 4096)
        self.assertEqual(cases.product_parameters("llama3_8b"), 8030261248 - 128256 * 4096 - 65 * 4096)
        # 790 TFLOP/s: 29.9 thousand tokens a second (backends' figure) are the ceiling itself.
        self.assertAlmostEqual(cases.share_of_ceiling("llama2_7b", 29890, 790e12), 1, delta=0.001)


class Stages(support.Checked):
    def test_correct(self):
        self.assertEqual(self.check("correct", "--only", "correct llama"), 0)
        self.assertEqual(self.check("correct", "--only", "budgets double f32"), 0)
        got = self.records()
        self.assertEqual({got[n]["status"] for n in ("correct llama f32", "correct llama bf16", "correct budgets double f32")}, {"ok"})
        self.assertGreater(got["correct budgets double f32"]["bytes"][0], got["correct budgets double f32"]["bytes"][1])

    def test_correct_planted(self):
        far = self.liar('s/"gradients_apart": [^,]*/"gradients_apart": 0.25/')
        self.assertEqual(self.check("correct", "--only", "llama", ctlc=far), 1)
        self.assertEqual(self.records()["correct llama f32"]["status"], "wrong")
        self.assertIn("the bounds are", self.said)
        odd = self.liar('s/"gradients_apart": [^,]*/"gradients_apart": null/')
        self.assertEqual(self.check("correct", "--only", "llama f32", ctlc=odd), 1)
        other = self.liar("""s/"gradients": "./"gradients": "'$$'/""")  # another at each call
        self.assertEqual(self.check("correct", "--only", "budgets double f32", ctlc=other), 1)
        self.assertIn("gradients differ between budgets", self.records()["correct budgets double f32"]["why"])

    def test_ours(self):
        self.assertEqual(self.check("ours", "--only", "ours tiny double"), 0)
        got = self.records()["ours tiny double 4x16 time"]
        self.assertEqual(got["trained"], 2 * 3 * 4 * (32 + 32))
        self.assertLess(got["losses"][-1], got["losses"][0])
        self.assertIn("tiny double", self.said)
        grows = self.liar('s/"losses": \\[[^,]*,/"losses": [0.5,/')
        self.assertEqual(self.check("ours", "--again", "--only", "ours tiny double 4x16 time", ctlc=grows), 1)
        self.assertIn("the loss does not fall", self.records()["ours tiny double 4x16 time"]["why"])

    def test_sanitize(self):
        """A sanitizer that finds something, one that cannot run, one that is content."""
        for code, want in ((0, None), (sanitize.FOUND, "Invalid read"), (1, "failed")):
            tool = self.folder / "sanitizer"
            tool.write_text(f"#!/bin/sh\necho '========= COMPUTE-SANITIZER'\necho '========= Invalid read of size 4'\nexit {code}\n")
            tool.chmod(0o755)
            o = types.SimpleNamespace(sanitizer=str(tool), environment=None)
            if want == "failed":
                self.assertRaises(work.Failed, sanitize.under, o, "memcheck", ["true"], 10)
            else:
                self.assertEqual(sanitize.under(o, "memcheck", ["true"], 10), want and "Invalid read of size 4")


@unittest.skipUnless(support.STAND_INS, "no stand-ins of CUDA's libraries were given")
class StandIns(support.Checked):
    """The same stages through CUDA's driver, compiler and cuBLASLt, as ctypes and ctlc meet them: stand-ins of the three."""

    def test_stages(self):
        libraries = ("--libraries", str(support.STAND_INS))
        self.assertEqual(self.check("conform", *libraries), 0)
        self.assertEqual(self.check("correct", "--only", "correct llama bf16", *libraries), 0)
        self.assertEqual(self.check("correct", "--only", "budgets double f32", *libraries), 0)
        self.assertEqual(self.check("ours", "--only", "memory of the context", *libraries), 0)
        self.assertEqual(self.check("ours", "--only", "start tiny", *libraries), 0)
        self.assertIn("| from a spec to a step, s | empty cache |", self.said)
        self.assertEqual(self.check("ours", "--only", "tiny double 4x16 time", *libraries), 0)
        self.assertEqual(self.check("profile", "--only", "tiny double", *libraries), 0)
        got = self.records("stand-in")
        self.assertEqual({r["status"] for r in got.values()}, {"ok"})
        self.assertEqual(got["memory of the context"]["bytes"], 0)  # the stand-in's device has nothing else in it
        self.assertGreater(got["start tiny"]["cold"], 2 * got["start tiny"]["warm"])
        ours = got["ours tiny double 4x16 time"]
        self.assertEqual(ours["device_used"], ours["device_held"])
        self.assertLess(ours["device_held"] - ours["planned"], 8192)  # beside the plan, the engine's own few numbers
        self.assertIn("attention", [k["name"] for k in got["profile tiny double 4x16"]["kernels"]])

    def test_attend(self):
        """Every tile computes what ctlc's does; one that does not is called wrong."""
        self.assertEqual(self.check("attend", "--only", "attend tiny", "--libraries", str(support.STAND_INS)), 0)
        got = self.records("stand-in")["attend tiny 4x16"]
        tiles = {(k["kernel"], k["tile"], k["warps"]): k for k in got["kernels"]}
        self.assertEqual([k["kernel"] for k in got["kernels"] if k["ours"]], ["forward", "queries", "keys"])
        self.assertLessEqual({("forward", 64, 4), ("queries", 16, 8), ("keys", 16, 4)}, set(tiles))
        # 4 sequences of 16 causal rows, 4 heads of 8: 136 pairs a head and sequence, 2 * 8 operations each and product.
        self.assertAlmostEqual(tiles["keys", 16, 4]["rate"] * tiles["keys", 16, 4]["seconds"], 4 * 4 * 136 * 16 * 4, delta=1)
        self.assertIn("| tiny 4x16 keys", self.said)
        # What a launch asks of shared memory is counted in attend.py once more: ctlc tells its own tiles'.
        build = [support.CTLC, "build", str(cases.spec("tiny", "lora")), "--compute", "bf16", "--target", "cuda:sm_86", "--emit=cu", "-o",
                 str(self.folder / "sources")]
        told = subprocess.run(build, capture_output=True, text=True, check=True).stdout
        for kernel in [k for k in got["kernels"] if k["ours"]]:
            self.assertRegex(told, rf"attend_{kernel['kernel']}_8\.cu +\d+ bytes +{kernel['shared']} bytes shared")

    def test_attend_planted(self):
        o = types.SimpleNamespace(ctlc=support.CTLC, device=cuda.Device([str(support.STAND_INS)]), host=True, engine="cuda", tokens=["4x16"],
                                  models=["tiny"], peer_device="cpu")
        right, attend.WARPS = attend.with_tile, (4,)
        try:
            attend.with_tile = lambda text, size, tile, warps: right(text, size, tile, warps).replace("dp[n][e] - across[i]", "dp[n][e]") \
                if (size, tile) == ("QUERIES", 16) else right(text, size, tile, warps)
            (name, status, values), = attend.items(o)[0].run(60)
        finally:
            attend.with_tile, attend.WARPS = right, (4, 8)
        self.assertEqual((name, status), ("attend tiny 4x16", "wrong"))
        self.assertIn("keys with tiles of 16 rows and 4 warps is", values["why"])
        self.assertRaises(work.Failed, attend.with_tile, "no tiles", "KEYS", 16, 4)
        self.assertEqual(attend.apart([1.0, float("nan")], [1.0, 2.0]), float("inf"))


if __name__ == "__main__":
    assert sys.version_info >= (3, 9), "Python 3.9 or later"
    assert unittest
    support.main()
