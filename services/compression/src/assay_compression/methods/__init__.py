"""Tensor routines of the compression methods: no files, no models, no configuration."""
