"""The vLLM side: everything that runs inside a Ray Serve replica, and pure helpers of it."""
