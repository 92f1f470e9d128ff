"""Workers of a Ray cluster read audio as one machine does, also of videos that they share in ranges."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cluster.config import ExtractExecutionConfig
from pipeline.stages.extract import extract
from pipeline.store.tools.verify import verify_store
from tests.pipeline.cluster.test_ray import BOTH, RAY, cluster, config_of, encoder_in, files_of  # noqa: F401
from tests.sounds import beeping, write_with_audio


@pytest.mark.parametrize("more", BOTH)
def test_audio_rows_are_those_of_one_machine(cluster, tmp_path, more):  # noqa: F811
    folder = tmp_path / "videos"
    write_with_audio(folder / "a.mp4", 130, beeping(13, [(1, 1.3), (7.9, 8.2)], rate=48000), codec="aac")
    write_with_audio(folder / "b.mp4", 24, beeping(2, [(0.5, 0.6)], rate=48000), codec="aac", audio_from=0.4)
    write_with_audio(folder / "c.mp4", 20, None)
    config = replace(config_of(encoder_in(tmp_path)), streams="rgb,audio")
    one, _ = extract([folder], tmp_path / "one", config)
    on_ray = ExtractExecutionConfig(**RAY, ray_range_minutes=0.1, **more)
    store, summary = extract([folder], tmp_path / "ray", replace(config, execution=on_ray))
    assert (summary.done, summary.silent, summary.failed) == (3, 1, {})
    features = store.read("a").features
    assert features.shape == (33, 3 + 128)
    # Windows [0.4 i, 0.4 i + 0.4) that meet [1.0, 1.3): 2, 3; [7.9, 8.2): 19, 20.
    assert {2, 3, 19, 20} == set(np.flatnonzero(features[:, 3 + 64 :].max(1) > 1.0))
    assert files_of(store.path) == files_of(one.path)
    assert verify_store(store, deep=True) == []
