"""Files of sound: their structure, decoders, tags and writers. `sound/file.py` is what others ask."""
