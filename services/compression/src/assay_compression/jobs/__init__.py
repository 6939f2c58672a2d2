"""Jobs as the service sees them: what a worker is told, what it reports, and the queue."""
