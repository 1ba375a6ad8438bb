"""`vqcodec benchmark`: rate, quality, time and memory of codecs on a user's own pictures.

    pictures ─ sweep (codecs × settings, cached) ─ points ─ curves ─ BD-rates ┐
             ─ timing (serial, a fresh process per codec) ───────────────────┼─ tables, CSV, JSON, HTML
             ─ matched (files of one size, side by side) ────────────────────┘

A codec is one class in codecs.py, a metric one class in metrics.py; nothing else knows their names.
"""
