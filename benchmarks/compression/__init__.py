"""`make bench-compression`: what compression does to the demo model, and what the service costs."""
