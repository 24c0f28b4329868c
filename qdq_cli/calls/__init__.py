"""What Python programs call: models and samples from memory, keywords instead of records, results in memory."""
