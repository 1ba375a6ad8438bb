"""Models on disk: their configuration, the registry, files, weights."""
