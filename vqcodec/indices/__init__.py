"""Index grids ⇄ bits: codebooks, the integer prior, its CDFs, the range coder. No medium is known here."""
