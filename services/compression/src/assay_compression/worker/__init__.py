"""The worker process: one compression job, from a checkpoint to a published artifact."""
