"""Where videos and stores may lie: a local folder, or object storage named by a URL (s3://bucket/key, gs://…).

What is assumed of object storage, and nothing more (Amazon S3 has it since December 2020, Google's and MinIO too):

- An object appears whole or not at all. An array or a sidecar is one upload, made when its file is complete here;
  s3fs sends files of more than 100 MB in parts, which nobody sees before the last. Parts of an upload that was killed
  stay invisible but are paid for: let the bucket's life-cycle rules abort incomplete uploads after some days.
- What was written is read by every later read and named by every later listing.
- There is no rename and no lock, and none is needed: the sidecar of a video is written after its array.

Names and sizes are listed once when a store is opened and kept for the run; what this process writes is noted in them.
What another machine wrote meanwhile is seen when it is asked for by name, and by the next run.
"""
