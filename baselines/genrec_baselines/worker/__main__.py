"""The other side of the bridge: a separate process in a separate folder, where RecBole may do as it likes.

Started as `python .../worker FOLDER` by any interpreter that has RecBole, so it imports nothing of genrec_bench. It
gets training sequences and queries, never a held-out item.
"""

import logging
import os
import platform
import sys
import traceback
from pathlib import Path


def main():
    """Train as the host's first message says, then answer queries until the host is done."""
    folder, sys.argv = sys.argv[1], sys.argv[:1]  # RecBole reads sys.argv
    from host import Host

    host = Host(folder)
    os.chdir(folder)
    try:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
        host.send(phase="importing")
        job = host.receive()

        import patches

        patched = [*patches.apply(), *patches.mend(job["model"])]
        from training import train

        ranker, facts = train(job, host)
        host.send(done={**facts, **surroundings(patched, ranker.device)})

        while True:
            request = host.receive()
            ranker.answer(request)
            host.send(ranked=request["into"])
    except Exception as error:
        traceback.print_exc()
        host.send(error=f"{type(error).__name__}: {error}", kind=type(error).__name__)
        sys.exit(1)


def surroundings(patched, device):
    """What the model ran on, for the record."""
    from importlib.metadata import version

    import torch

    names = ("recbole", "torch", "numpy", "scipy", "pandas")
    facts = {
        "patches": patched,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in names},
    }
    if device.type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "peak_device_mb": torch.cuda.max_memory_allocated() / 1e6}
    return {"surroundings": facts | peak_host()}


def peak_host() -> dict[str, float]:
    """The peak memory of this process. On Linux from /proc: `ru_maxrss` includes the peak of the parent process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return {"peak_host_mb": next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))}
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_host_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


if __name__ == "__main__":
    main()
