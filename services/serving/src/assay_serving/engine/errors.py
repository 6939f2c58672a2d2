"""What can happen to an engine, apart from vLLM, so that it can be named without importing it."""


class EngineDeadError(Exception):
    """The engine process is gone; nothing can be generated until it is started again."""
