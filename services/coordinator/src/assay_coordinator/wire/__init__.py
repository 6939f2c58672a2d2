"""Protobuf messages to domain types and back. Messages stop here."""
