"""The trust dimensions, one folder each: scenarios, parser, metric. Found by entry point."""
