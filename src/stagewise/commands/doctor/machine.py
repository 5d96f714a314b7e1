"""Cores, memory, disk, device, and whether bits repeat on it."""

import os
import shutil
import tempfile
from typing import Any

from stagewise.commands.doctor.finding import BAD, GOOD, WARNING, Said

BUSY = 0.25  # share of the cores that others may use before it is said
GIB = 1 << 30
LEAST_MEMORY, LITTLE_MEMORY = GIB, 4 * GIB
LEAST_DISK, LITTLE_DISK = GIB, 10 * GIB


def cores() -> Said:
    import psutil

    cores = len(os.sched_getaffinity(0))
    busy = psutil.cpu_percent(interval=1.0) / 100 * (psutil.cpu_count() or cores)
    said = f"{cores}, of which {busy:.1f} are busy"
    if busy > BUSY * cores:
        yield WARNING, f"{said}: training gets its share of them; end other programs, or expect it to take longer"
    else:
        yield GOOD, said


def memory() -> Said:
    import psutil

    free = psutil.virtual_memory().available
    remedy = "end other programs, or lower training.batch_size and the model's size"
    yield _room(free, LEAST_MEMORY, LITTLE_MEMORY, f"{free / GIB:.1f} GiB free", remedy)


def disk() -> Said:
    from stagewise.tracking.store import home

    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield BAD, f"{folder}: {error.strerror}; change its permissions, or set STAGEWISE_HOME to another folder"
        return
    free = shutil.disk_usage(folder).free
    remedy = "stagewise gc --remove, or set STAGEWISE_HOME to a folder on another disk"
    yield _room(free, LEAST_DISK, LITTLE_DISK, f"{free / GIB:.1f} GiB free in {folder}", remedy)


def _room(free: int, least: int, little: int, said: str, remedy: str) -> tuple[str, str]:
    if free >= little:
        return GOOD, said
    return (BAD if free < least else WARNING), f"{said}: {remedy}"


def device() -> Said:
    import torch

    from stagewise.model.device import device_kind

    kind = device_kind("auto")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield GOOD, f"{kind}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    elif torch.version.cuda and shutil.which("nvidia-smi"):
        yield WARNING, f"{kind}: torch {torch.__version__} sees no GPU; nvidia-smi says what the driver has"
    else:
        yield GOOD, f"{kind}, no GPU"


def determinism() -> Said:
    """Two updates of a small network, twice from the same weights: the same bits."""
    import torch

    from stagewise.config import Compute
    from stagewise.hashing import sha256
    from stagewise.model.device import set_up
    from stagewise.training.openmp import NAME, SPINCOUNT, spin_little

    device = set_up(Compute()).device

    def trained() -> str:
        torch.manual_seed(1)
        layers = torch.nn.Embedding(512, 128), torch.nn.Linear(128, 512), torch.nn.Linear(512, 512)
        network = torch.nn.Sequential(*layers).to(device)
        optimizer = torch.optim.AdamW(network.parameters())
        ids = torch.arange(2048, device=device) % 512
        for _ in range(2):
            optimizer.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(network(ids), ids.roll(1))
            loss.backward()
            optimizer.step()
        return sha256(b"".join(each.detach().cpu().numpy().tobytes() for each in network.parameters()))

    if trained() != trained():
        yield WARNING, "two trainings from the same weights differ: a study runs, but is not reproduced to the bit"
    elif not spin_little():
        yield (
            WARNING,
            f"the same bits twice; OpenMP's threads spin, which is slow beside others: set {NAME}={SPINCOUNT}",
        )
    else:
        yield GOOD, "the same bits twice"
