"""The stages: one file for each step of the pipeline, called by the commands."""
