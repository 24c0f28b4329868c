"""What differs by runtime; a folder each."""
