"""`vqcodec batch`: whole trees of files through one warm model per worker, resumable. No module here but `work`
imports torch.

    scan (stores, globs) → kinds → plan (names, collisions) ┬ manifest: what is complete
                                                            └ dispatch → engine_local | engine_ray → work
"""
