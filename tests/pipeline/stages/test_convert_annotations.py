"""Labels, from the files of tools and beside the videos they are for, to annotations and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.config import ConvertConfig
from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.stages.convert_annotations import convert
from pipeline.video.write import write_video
from tests.pipeline.annotations.tools.reading import told
from tests.pipeline.annotations.tools.test_cvat import VIDEO as CVAT

DETECTIONS = {"a": [Detection((0.1, 0.5), "sit", 0.9), Detection((0.2, 0.4), "run", 0.1)], "b": []}
