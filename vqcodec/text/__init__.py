"""Text without loss: bytes as tokens, a context-mixing model with trained tables as prior, lanes that run side by side."""
