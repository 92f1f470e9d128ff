"""Compare features on the device with those on the processor in fp32, from the same random weights."""

import argparse

import torch

from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.runtime import synthetic_snippets
from gpu_parts.rows import Rows

ENCODERS = ("i3d_r50", "i3d_inception", "tsn_r50", "r2plus1d_34", "mvit_base_16x4")
QUICK = ("tsn_r50",)
LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}


def run(options: argparse.Namespace, rows: Rows) -> None:
    for name in QUICK if options.quick else ENCODERS:
        host = load_encoder(
            name, weights="random", device="cpu", precision="fp32", batch_size=1 if options.quick else 2
        )
        snippets = synthetic_snippets(host.spec, 1 if options.quick else 5)
        want = host.encode(snippets).double()
        for precision in ("fp32", "bf16", "fp16"):
            row = f"{name} {precision}"
            try:
                encoder = load_encoder(
                    name,
                    weights="random",
                    device=options.device,
                    precision=precision,
                    batch_size=1 if options.quick else 4,
                )
                found = encoder.encode(snippets).double()
            except EncoderError as error:
                rows.failed(row, error)
                continue
            cosine = torch.nn.functional.cosine_similarity(found, want, dim=1)
            difference = (found - want).abs().max().item()
            measures = {
                "lowest_cosine": f"{cosine.min().item():.7f}",
                "largest_difference": difference,
                "of_largest_value": difference / want.abs().max().item(),
                "relative_norm": ((found - want).norm() / want.norm()).item(),
            }
            good = bool(torch.isfinite(found).all()) and cosine.min().item() >= LEAST_COSINE[precision]
            rows.add(row, **measures, failed=None if good else f"cosine below {LEAST_COSINE[precision]}")
