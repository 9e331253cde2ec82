"""Opens a session on the checkpoint folder of its argument, and prints what loading took of this machine's memory.

Run by itself, so that nothing else uses memory meanwhile. It reads what is resident when loading begins, and the most that ever
was resident, then and when loading ends.
"""

import json
import sys
from pathlib import Path

from models import load_pretrained
from partitioner import Workload, partition
from runtime import Session
from tests.runtime.tiny_models import demo_hardware


def memory_bytes(field: str) -> int:
    """Returns ``VmRSS``, what is resident of this process, or ``VmHWM``, the most that ever was."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/self/status has no {field}")


def main(folder: str) -> None:
    model = load_pretrained(folder, lazy=True)
    hw = demo_hardware().with_memory("gpu0", 1e9)
    plan = partition(model, hw, Workload(1, 8, 2), "gpu-only")
    found: dict[str, int] = {}

    def watch(stage: str, done: int, total: int) -> None:
        if stage == "loading" and done == 0:
            found.update(before=memory_bytes("VmRSS"), most_before=memory_bytes("VmHWM"))
        if stage == "loading" and done == total:
            found.update(most=memory_bytes("VmHWM"), weights=total)

    with Session(plan, model, clock="virtual", progress=watch):
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
