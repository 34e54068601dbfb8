"""The conditions of a run: versions, hardware, memory. Read from the machine, never assumed."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from genrec_bench.errors import DeviceMissing, UsageError

NUMERICAL = ("numpy", "scipy", "scikit-learn", "torch", "faiss-cpu", "faiss-gpu-cu12", "transformers")
PACKAGES = ("genrec-bench", *NUMERICAL, "safetensors", "pyarrow")


def pick_device(asked: str) -> str:
    """The device for `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1` or `mps`.

    DeviceMissing if this machine does not have it, UsageError if it is not a device's name.
    """
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise _no_device(asked) from None
    if device.type == "cpu":
        return "cpu"
    if device.type == "cuda" and torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count():
        return asked
    if device.type == "mps" and torch.backends.mps.is_available():
        return asked
    raise DeviceMissing(f"device {asked!r} is not on this machine: use --device cpu or auto", device=asked)


def cpu_instead_of(asked: str) -> str:
    """`cpu`, for systems that can use nothing else. UsageError if `asked` is not a device's name.

    Does not look for the device, because that would import torch.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", asked):
        raise _no_device(asked)
    return "cpu"


def _no_device(asked: str) -> UsageError:
    return UsageError(f"no device {asked!r}: use auto, cpu, cuda, cuda:N or mps")


def environment(device: str) -> dict[str, Any]:
    """Python, platform, processor, packages and time."""
    conditions: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "gpu": None,
        "device": device,
        "packages": {name: _version(name) for name in PACKAGES},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }

    if device.startswith("cuda"):
        import torch

        conditions["gpu"] = torch.cuda.get_device_name(torch.device(device))
    return conditions


def _threads() -> int | None:
    """Threads of a computation in this process: torch's if it is loaded, else NumPy's; None if neither tells."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    return max((pool["num_threads"] for pool in threadpool_info()), default=None)


def reset_peak_memory(device: str) -> None:
    """Start measuring `peak_memory` here, if the system allows it (Linux, CUDA)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(torch.device(device))


def peak_memory(device: str) -> dict[str, float | None]:
    """The peaks since `reset_peak_memory`, in MB (10^6 bytes).

    On the host, the resident memory of this process, libraries included; on the GPU, what torch allocated.
    """
    peak = {"peak_host_mb": _peak_host(), "peak_device_mb": None}
    if device.startswith("cuda"):
        import torch

        allocated = torch.cuda.max_memory_allocated(torch.device(device)) / 1e6
        peak["peak_device_mb"] = allocated or None  # 0: this process allocated nothing, and nobody measured others
    return peak


def _peak_host() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def library_versions() -> str:
    """Versions of the numerical libraries, on which results may depend."""
    return " ".join(f"{name}={_version(name)}" for name in NUMERICAL)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except Exception:  # not installed, or its metadata cannot be read
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
