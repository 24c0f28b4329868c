"""Speed and memory, printed as ratios measured in one run on the same work: `python -m bench`."""
