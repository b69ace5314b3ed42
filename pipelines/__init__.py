"""The subject itself: what a recording is and how it becomes an MP4."""
