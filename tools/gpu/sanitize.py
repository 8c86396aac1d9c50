"""The stage sanitize: conform, and steps of small networks, under compute-sanitizer's tools."""
import shutil
import subprocess
import sys
import tempfile

import cases
import correct
from records import OK, WRONG
from work import Failed, Item

TOOLS = ["memcheck", "racecheck", "synccheck"]
PLACES = ["/usr/local/cuda/bin/compute-sanitizer", "/usr/local/cuda/compute-sanitizer/compute-sanitizer"]
FOUND = 86  # the exit code that we ask of it


def sanitizer():
    return shutil.which("compute-sanitizer") or next((p for p in PLACES if shutil.which(p)), None)


def under(o, tool, command, left):
    """What the tool says of the command: None, or its first finding."""
    program = getattr(o, "sanitizer", None) or sanitizer()
    if not program:
        raise Failed("there is no compute-sanitizer on the PATH or in /usr/local/cuda/bin")
    try:
        done = subprocess.run([program, "--tool", tool, "--error-exitcode", str(FOUND), "--target-processes", "all", *command],
                              capture_output=True, text=True, errors="replace", timeout=left, env=o.environment)
    except subprocess.TimeoutExpired:
        raise Failed(f"ended after {left:.0f} s, which was all that was left")
    if done.returncode == 0:
        return None
    said = [x for x in (done.stdout + done.stderr).splitlines() if x.strip()]
    marked = [x for x in said if x.startswith("=========") and len(x.strip("= ")) > 0 and "COMPUTE-SANITIZER" not in x]
    if done.returncode != FOUND:
        raise Failed(f"{(marked or said or ['it said nothing'])[0].strip('= ')[:250]} (exit code {done.returncode})")
    return marked[0].strip("= ")[:250] if marked else "it found something"


def items(o):
    out = []
    for tool in TOOLS:
        commands = {"conform": lambda: [sys.executable, str(cases.ROOT / "tools/gpu/check"), "conform", "--again", "--out",
                                        tempfile.gettempdir(), "--ctlc", str(o.ctlc), *(["--host"] if o.host else []),
                                        *[x for d in o.libraries for x in ("--libraries", d)]]}
        for compute in ("f32", "bf16"):
            for tune in ("llama", "mistral", "gpt2", "vit"):
                commands[f"{tune} {compute}"] = lambda tune=tune, compute=compute: correct.bench(
                    o, correct.FAMILIES, "--steps", "1", "--warm", "0", "--compute", compute, "--tune", tune)
        for what, command in commands.items():
            name = f"sanitize {tool} {what}"

            def run(left, name=name, tool=tool, command=command):
                why = under(o, tool, command(), left)
                yield name, WRONG if why else OK, {"why": why} if why else {}
            out.append(Item(name, "sanitize", 20, run))
    return out
