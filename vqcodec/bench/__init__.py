"""`vqcodec benchmark`: rate, quality, time and memory of codecs on a user's own pictures or recordings.

    pictures ─ sweep (codecs × settings, cached) ─ points ─ curves ─ BD-rates ┐
             ─ timing (serial, a fresh process per codec) ───────────────────┼─ tables, CSV, JSON, HTML
             ─ matched (files of one size, side by side) ────────────────────┘

medium.py says what differs between pictures and sounds. A codec is one class in picture_codecs.py or sound_codecs.py, a
metric one in picture_metrics.py or sound_metrics.py; beyond that only their Medium knows their names, for defaults.
"""
