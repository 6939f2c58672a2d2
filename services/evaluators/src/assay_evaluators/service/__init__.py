"""The evaluator as a service: settings, durable evaluations, servicer."""
