"""What a job will take, before it runs, and how it is getting on while it does."""
