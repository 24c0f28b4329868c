"""`qdq fix`: repair what can be repaired in a Q/DQ model without changing what it was trained to do."""
