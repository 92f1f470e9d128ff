"""The machine in words."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from pipeline.cluster.cores import usable_cores
from pipeline.text.plain import counted, plain


def machine_text() -> str:
    """Return processor, cores and GPU: what wall times depend on."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return plain(f"{counted(usable_cores(), 'core')} of {_processor()}, {gpu}")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # platform.processor() is empty on Linux
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
