"""Files of pictures: their structure, colour and metadata. `picture/file.py` is what others ask."""
