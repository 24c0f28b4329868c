"""Who decides that a change stays: candidates, samples set aside, trials by the model's own outputs."""
