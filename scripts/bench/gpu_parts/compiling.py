"""One encoder through torch.compile, as in `extract --compile`: the time to compile once, and the speed-up."""

import argparse
import time

import torch

from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from gpu_parts.encoding import QUICK_BATCH, Work, measure, ways_of
from gpu_parts.rows import Rows
from gpu_parts.timing import matmul_rate, sibling


def run(options: argparse.Namespace, rows: Rows, name: str) -> None:
    device = torch.device(options.device)
    began = time.perf_counter()
    try:
        encoder = load_encoder(
            name,
            weights="random",
            device=options.device,
            compile=True,
            batch_size=QUICK_BATCH if options.quick else None,
        )
    except EncoderError as error:
        rows.failed(f"{name} compiled", error)
        return
    loading = time.perf_counter() - began
    flops = sibling("encode").network_flops(name)
    rate = matmul_rate("bf16" if encoder.precision == "fp16" else encoder.precision, device, quick=options.quick)
    for way, begin in ways_of(encoder).items():
        measure(
            f"{name} {encoder.precision} compiled, {way}", Work(begin, encoder.batch_size, flops, rate), device, rows,
            options, seconds_to_load=loading, batch=encoder.batch_size, notes="; ".join(encoder.notes) or None,
        )  # fmt: skip
