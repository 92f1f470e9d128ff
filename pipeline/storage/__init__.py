"""Local files, and files in object storage that a URL names (s3://bucket/key, gs://…).

Required of object storage, and met by Amazon S3 (since December 2020), Google Cloud Storage and MinIO:

- An object appears whole or not at all. An array or a sidecar is one upload, made when its file is complete here;
  s3fs sends files of more than 100 MB in parts, which stay invisible until the last. Parts of an upload that was killed
  stay invisible but cost money: let the bucket's life-cycle rules abort incomplete uploads after some days.
- Strong read-after-write consistency: later reads and listings see what was written.
- No rename and no lock: the sidecar of a video is written after its array.

Names and sizes are listed once, when a store is opened, and kept for the run; this process adds its own writes to them.
What another machine writes meanwhile is seen when it is looked up by name, and by the next run.
"""
