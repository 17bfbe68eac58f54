"""Prints the environment of a GPU check: versions, the card, and whether our kernels compile."""

import platform

import numpy
import torch
import torchaudio

from models.passt.fused import has_kernels

print(f"Python {platform.python_version()}, numpy {numpy.__version__}")
print(f"torch {torch.__version__}, torchaudio {torchaudio.__version__}")
print(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
try:
    import triton

    print(f"Triton {triton.__version__}")
except ImportError:
    print("no Triton")
if torch.cuda.is_available():
    free, total = torch.cuda.mem_get_info()
    print(f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    print(f"own kernels: {'yes' if has_kernels(torch.device('cuda')) else 'no'}")
else:
    print("torch sees no GPU")
