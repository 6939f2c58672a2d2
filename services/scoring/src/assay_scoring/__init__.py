"""Text classifiers behind gRPC; the only service besides serving and compression with torch."""
