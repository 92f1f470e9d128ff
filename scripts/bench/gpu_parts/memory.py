"""Out of memory: the encoder halves its batch and continues, with the same features."""

import argparse
from typing import Any

import torch

from encoders.encoder import Encoder, load_encoder
from encoders.runtime import lowest_cosine, synthetic_snippets
from gpu_parts.rows import Rows


def run(options: argparse.Namespace, rows: Rows) -> None:
    batch = 2 if options.quick else 64
    encoder = load_encoder("i3d_r50", weights="random", device=options.device, batch_size=batch)
    snippets = synthetic_snippets(encoder.spec, batch)
    if encoder.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        want = encoder.encode(snippets)
        needed = torch.cuda.max_memory_allocated() - held
        torch.cuda.empty_cache()
        limit = torch.cuda.memory_reserved() + 0.4 * needed
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
        found = encoder.encode(snippets)
        torch.cuda.set_per_process_memory_fraction(1.0)
    else:
        want = encoder.encode(snippets)
        needed = 0
        _refuse_batches(encoder)
        found = encoder.encode(snippets)
    rows.add(
        "i3d_r50 with less memory than its batch takes",
        batch_before=batch,
        batch_after=encoder.batch_size,
        gigabytes_needed=needed / 1e9,
        lowest_cosine=f"{lowest_cosine(found, want):.7f}",
        notes="; ".join(encoder.notes),
        failed=None
        if encoder.batch_size < batch and lowest_cosine(found, want) > 0.999
        else "the batch was not halved",
    )


def _refuse_batches(encoder: Encoder) -> None:
    """Simulate a full GPU: more than one snippet does not fit."""
    network = encoder.network

    def forward(snippets: torch.Tensor) -> Any:
        if len(snippets) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return network(snippets)

    encoder.network = forward
