"""Models that other tools made, with the scripts that made them; the reports about them are goldens."""
