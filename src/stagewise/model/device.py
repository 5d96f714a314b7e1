"""Device, threads and determinism: what bits depend on besides versions.

    accelerator = set_up(config.compute)
    machine(config)     {"device": "cpu AVX512", "threads": 2, "determinism": {…}}, as each run records it
    device_kind("auto")     "NVIDIA H100": the kind of machine on which bits repeat

On another kind they need not.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from stagewise.config import Compute, Config
from stagewise.errors import ConfigError
from stagewise.record.frozen import Machine

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
DETERMINISM: dict[str, Any] = {
    "deterministic_algorithms": True,
    "warn_only": True,  # an operation without a deterministic form is named on stderr and not forbidden
    "warn_only_in_gpu_training": False,  # where torch only warns, its attention adds gradients in any order
    "fill_uninitialized_memory": False,
    "cudnn_benchmark": False,
    "float32_matmul_precision": "highest",
}
"""Torch's switches on which it depends whether bits repeat; each run records them as part of its machine."""


def set_up(compute: Compute, processes: int = 1) -> Accelerator:
    """Device, threads and determinism of this process."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: found cuda, but there is no CUDA device here; use auto or cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it a GPU's matrix products need not repeat
    torch.set_num_threads(threads(compute, processes))
    keep_freed_memory()
    _deterministic(DETERMINISM["warn_only"])
    torch.backends.cudnn.benchmark = DETERMINISM["cudnn_benchmark"]
    torch.set_float32_matmul_precision(DETERMINISM["float32_matmul_precision"])
    # Else every new tensor is filled with NaN first, a twelfth of a step's time on the CPU.
    torch.utils.deterministic.fill_uninitialized_memory = DETERMINISM["fill_uninitialized_memory"]  # type: ignore[attr-defined]
    # Its precision holds for a whole process, in which phases and evaluations differ in it: `batching` casts.
    return Accelerator(cpu=compute.device == "cpu", mixed_precision="no")


def keep_freed_memory() -> None:
    """Lets glibc reuse what a step frees in the next one, on the CPU up to half of a step's time.

    By default each large tensor is mapped anew, and the system hands out its pages one fault at a time.
    `return_freed_memory` gives back what is free then.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Training: on a GPU, an operation without a deterministic form is an error for as long as the context lasts."""
    if device.type == "cuda":
        _deterministic(DETERMINISM["warn_only_in_gpu_training"])
    try:
        yield
    finally:
        _deterministic(DETERMINISM["warn_only"])


def _deterministic(warn_only: bool) -> None:
    torch.use_deterministic_algorithms(DETERMINISM["deterministic_algorithms"], warn_only=warn_only)


def threads(compute: Compute, processes: int = 1) -> int:
    """CPU threads of each of the processes on this machine."""
    return compute.threads or max(1, len(os.sched_getaffinity(0)) // processes)


def device_kind(device: str) -> str:
    """The kind of machine on which bits repeat: the GPU's name, or the CPU's widest vector instructions."""
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.get_device_name()
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def machine(config: Config, phase: int = 0) -> Machine:
    """What bits depend on besides versions. Phases above 0 may take several processes."""
    here = config.training.processes // config.training.machines if phase else 1
    kind, count = device_kind(config.compute.device), threads(config.compute, here)
    return {"device": kind, "threads": count, "determinism": DETERMINISM}
