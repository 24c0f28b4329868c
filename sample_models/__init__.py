"""Small networks trained on real data, with calibration images and labelled test sets, to try `qdq` on."""
