"""From a folder of videos to located actions, step by step, with the library's own functions.

    python examples/folder_to_detections.py VIDEOS ANNOTATIONS.json OUT [ENCODER [WEIGHTS]]

The cells (# %%) also run one by one in an editor that knows them. ENCODER is tsn_r50 if left out, or an encoder of your
own (FILE.py:NAME); WEIGHTS is kinetics400, and "random" tries the whole way without a download.
"""

# %% What goes in, and where results go
import sys
from pathlib import Path

from pipeline.annotations.detections import write_detections
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.evaluate import evaluate
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from sola.config import SolaConfig

videos, annotations, out = (Path(word) for word in sys.argv[1:4])
encoder = sys.argv[4] if len(sys.argv) > 4 else "tsn_r50"
weights = sys.argv[5] if len(sys.argv) > 5 else "kinetics400"


def main() -> None:
    # %% Raw videos to features. Run it again: finished videos are skipped.
    features, extracted = extract([videos], out / "features", ExtractConfig(encoder=encoder, weights=weights))
    print(extracted.text())

    # %% One sequence: [T, C], and what its rows mean
    sequence = next(iter(features.sequences()))
    print(sequence.id, sequence.features.shape, f"a row every {float(sequence.plan.stride_seconds):.2f} s")

    # %% Fit SoLa without labels, and write the enhanced features
    enhanced, fitted = enhance_store(features, out / "enhanced", SolaConfig(steps=200, hidden=64))
    print(fitted.text())

    # %% Train a small head
    settings = TrainConfig(epochs=10, min_steps_per_epoch=10, head=HeadConfig(embed_dim=64, levels=4))
    print(train(enhanced, annotations, out / "model", settings).text())

    # %% Locate actions in the raw videos, on the fly, and evaluate
    model = load_model(out / "model")
    found = localize([videos], model, LocalizeConfig(encoder=encoder, weights=weights))
    write_detections(out / "detections.json", found.detections)
    print(evaluate(out / "detections.json", annotations, EvaluateConfig()).text())


if __name__ == "__main__":  # decoders run in processes of their own, which import this file
    main()
