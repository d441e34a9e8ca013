"""Which device a model runs on. PyTorch is looked at only where an NVIDIA driver is installed."""

import ctypes
import sys
from importlib.util import find_spec
from typing import Literal, NamedTuple

from models.backends.base import BackendError

Device = Literal["auto", "cpu", "cuda"]
"""As configured; `auto` takes CUDA where PyTorch finds it, else the CPU."""

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class Choice(NamedTuple):
    """The device, and in a few words why it was chosen."""

    device: Literal["cpu", "cuda"]
    reason: str


def choose(device: Device) -> Choice:
    """What `device` means on this machine; raises `BackendError` for a GPU that is not there."""
    if device == "cpu":
        return Choice("cpu", "as configured")
    hindrance = _hindrance()
    if hindrance is None:
        return Choice("cuda", "as configured" if device == "cuda" else "PyTorch finds a GPU")
    if device == "cuda":
        raise BackendError(
            f"tag.device is 'cuda', but {hindrance}: mend that, or set it to 'auto' or 'cpu'."
        )
    return Choice("cpu", hindrance)


def _hindrance() -> str | None:
    """Why CUDA cannot be used here; None where it can."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return "no NVIDIA driver is installed"
    if find_spec("torch") is None:
        return "PyTorch is not installed (the extra 'gpu')"
    from models.backends.pytorch import cuda_is_usable

    return None if cuda_is_usable() else "PyTorch finds no GPU that it can use"
