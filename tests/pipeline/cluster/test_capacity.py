"""Room for workers in a cluster, and the settings of execution."""

from types import SimpleNamespace

import pytest

from pipeline.cluster.config import ExecutionConfig, ExtractExecutionConfig, settings_of_results
from pipeline.cluster.ray_start import Capacity, capacity_in, connected
from pipeline.errors import PipelineError


def cluster_of(*machines: tuple[float, float]):
    nodes = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}} for cpus, gpus in machines]
    return SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 99.0}}])


@pytest.mark.parametrize(
    ("machines", "settings", "more", "expected"),
    [
        ([(2, 0)], {}, 0, Capacity(1, 2, 0)),
        ([(64, 0), (8, 0)], {}, 0, Capacity(18, 4, 0)),
        ([(16, 8), (16, 8)], {}, 0, Capacity(16, 2, 1)),
        ([(16, 8)], {"ray_gpus_per_worker": 0.5}, 0, Capacity(16, 1, 0.5)),
        ([(16, 2)], {"ray_gpus_per_worker": 0.6, "ray_cpus_per_worker": 1}, 0, Capacity(2, 1, 0.6)),
        ([(16, 8)], {"ray_gpus_per_worker": 2}, 0, Capacity(4, 4, 2)),
        ([(16, 1)], {"ray_workers": 5}, 3, Capacity(1, 13, 1)),
        ([(8, 0)], {"ray_cpus_per_worker": 1}, 1, Capacity(4, 1, 0)),
        ([(4, 0), (4, 0)], {"ray_workers": 1}, 0, Capacity(1, 4, 0)),
    ],
)
def test_capacity_for_workers(machines, settings, more, expected):
    config = ExecutionConfig(executor="ray", **settings)
    assert capacity_in(cluster_of(*machines), config, more_cpus=more) == expected


def test_on_cpu_gpus_are_left_alone():
    assert capacity_in(cluster_of((8, 2)), ExecutionConfig(executor="ray"), on_cpu=True) == Capacity(2, 4, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"executor": "spark"}, "executor must be 'local' or 'ray', got 'spark'"),
        ({"ray_workers": 2}, "ray_workers needs executor='ray', got executor='local'"),
        ({"executor": "ray", "ray_workers": 0}, "ray_workers must be >= 1, got 0"),
        ({"executor": "ray", "ray_gpus_per_worker": 1.5}, "ray_gpus_per_worker must be from 0 to 1"),
        ({"executor": "ray", "ray_range_minutes": 0.0}, "ray_range_minutes must be > 0"),
        ({"executor": "ray", "ray_decoders": 0}, "ray_decoders must be >= 1"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(PipelineError, match=words):
        ExtractExecutionConfig(**settings)


def test_where_work_is_done_is_no_part_of_what_identifies_it():
    from pipeline.extraction.config import ExtractConfig

    here, there = (ExtractConfig(execution=ExtractExecutionConfig(executor=name)) for name in ("local", "ray"))
    assert settings_of_results(here) == settings_of_results(there)
    assert settings_of_results(here) != settings_of_results(ExtractConfig(seed=1))


def test_without_ray_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(PipelineError, match=r'pip install "sola-pipeline\[ray\]"'),
        connected(ExecutionConfig(executor="ray")),
    ):
        pass
