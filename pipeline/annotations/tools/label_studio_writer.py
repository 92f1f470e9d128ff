"""Write tasks of Label Studio with predictions on the video's time line (JSON).

The labeling configuration must have `<Video name="video" value="$video" frameRate="$fps"/>` and
`<TimelineLabels name="videoLabels" toName="video">` with these labels, as the template "Video Frame Classification".
The video of a task is the file's name: where Label Studio finds it under another address, change `data.video`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.labeled import Labeled, Video, frames_of
from pipeline.annotations.videos import VideoFacts
from pipeline.storage.atomic_files import write_json


def write(path: Path, videos: Sequence[Video]) -> None:
    """Write a task for each video; times are rounded to frames, which Label Studio counts from 1.

    Raises:
        PipelineError: nothing is known about a video.
    """
    tasks = []
    for video in videos:
        facts = video.known("Label Studio")
        results = [_result(number, item, facts) for number, item in enumerate(video.items)]
        prediction: dict[str, Any] = {"model_version": "sola-pipeline", "result": results}
        scores = [item.score for item in video.items if isinstance(item, Detection)]
        if scores:
            prediction["score"] = round(float(sum(scores) / len(scores)), 9)
        tasks.append({"data": {"video": facts.name, "fps": facts.fps}, "predictions": [prediction]})
    write_json(path, tasks)


def _result(number: int, item: Labeled, facts: VideoFacts) -> dict[str, Any]:
    first, end = frames_of(item, facts)
    value = {"ranges": [{"start": first + 1, "end": end}], "timelinelabels": [item.label]}
    result = {"id": f"r{number}", "from_name": "videoLabels", "to_name": "video", "type": "timelinelabels"}
    score = {"score": round(float(item.score), 9)} if isinstance(item, Detection) else {}
    return {**result, "value": value, **score}
