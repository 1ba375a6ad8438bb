"""What `benchmarks/fuzz.py` feeds to the codecs: targets with kinds of inputs, a way to make and a way to judge them."""
