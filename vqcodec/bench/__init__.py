"""`vqcodec benchmark`: rate, quality, time and memory of codecs on a user's own pictures or recordings.

    sources  ─ sweep (codecs × settings, cached) ─ points ─ curves ─ BD-rates ┐
             ─ timing (serial, a fresh process per codec) ───────────────────┼─ tables, CSV, JSON, HTML
             ─ matched (files of one size, side by side) ────────────────────┘

comparison.py says what a medium answers, codecs.py and metrics.py what its codecs and metrics are: the media have theirs in
their own folders (`bench`, `peers`, `scores`), and nothing here knows them by name.
"""
