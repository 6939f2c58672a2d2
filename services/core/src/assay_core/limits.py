"""Limits that both ends of a call share."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
