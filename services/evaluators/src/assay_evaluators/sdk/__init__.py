"""What dimensions are built with: plan, generate, store, parse, score."""
