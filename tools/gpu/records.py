"""The results: a file with one JSON object a line, each written and flushed as soon as there is one, so that a run that is cut
off loses nothing, and the next one goes on behind it."""
import datetime
import json
import os
import pathlib
import re

OK, WRONG, FAILED, LEFT_OUT = "ok", "wrong", "failed", "left out"


def file_name(device):
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "unknown"


class Records:
    def __init__(self, folder, device, build, begin_with=None):
        """begin_with: another folder, whose results of this device are taken over where the folder has none."""
        self.path = pathlib.Path(folder) / (file_name(device) + ".jsonl")
        self.device, self.build, self.all = device, build, {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        other = pathlib.Path(begin_with) / self.path.name if begin_with else None
        if other and other.exists() and not self.path.exists():
            self.path.write_bytes(other.read_bytes())
        if self.path.exists():
            self.read()

    def read(self):
        """A last line that a kill cut short is dropped; another that is no result is an error."""
        lines = self.path.read_text().split("\n")
        whole, rest = lines[:-1], lines[-1]
        for n, line in enumerate(whole, 1):
            try:
                record = json.loads(line)
                self.all[record["item"]] = record
                record["status"]
            except (ValueError, KeyError, TypeError):
                raise SystemExit(f"check: {self.path}, line {n}: this is no result: {line[:80]}\n"
                                 "    take the line out, or give another folder with --out")
        if rest:
            self.path.write_text("\n".join(whole) + ("\n" if whole else ""))

    def done(self, item):
        return self.all.get(item, {}).get("status") == OK

    def add(self, item, stage, status, **values):
        record = dict(item=item, stage=stage, status=status, device=self.device, build=self.build,
                      when=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **values)
        with open(self.path, "a") as f:
            f.write(json.dumps(record) + "\n")
            f.flush()
            os.fsync(f.fileno())
        self.all[item] = record
        return record
