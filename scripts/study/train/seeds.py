"""Random numbers without a history: a generator for each seed, epoch and purpose, the same on every machine."""

import hashlib

import torch


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Seed of a generator, from SHA-256: unrelated for neighbouring seeds and epochs, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()[:8], "big") >> 1


def epoch_generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """The generator of one purpose in one epoch, on the CPU."""
    return torch.Generator().manual_seed(epoch_seed(seed, epoch, purpose))
