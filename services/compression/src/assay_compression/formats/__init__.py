"""Packed checkpoint formats: how integers, scales and zero points are stored, both ways."""

import torch

# The GPTQ format keeps its scales in half precision, whatever type the parent has.
GPTQ_SCALE_DTYPE = torch.float16
