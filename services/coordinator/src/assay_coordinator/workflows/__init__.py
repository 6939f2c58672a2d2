"""Studies as durable workflows: what runs, in which order, and how it survives."""
