"""The OpenAI-compatible HTTP door: completions, chat completions and models on the same engines."""
