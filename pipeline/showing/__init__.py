"""Turn detections or ground truth into something to use: tables, subtitles, chapters, clips, an editor's timeline."""
