"""The story of `qdq quantize`: the pipeline, its report, its text and its page."""
