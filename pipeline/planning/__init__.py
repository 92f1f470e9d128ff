"""Estimates of a job before it runs, and its status while it runs."""
