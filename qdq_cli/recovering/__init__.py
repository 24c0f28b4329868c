"""Keep the accuracy: measure quantized variants of a model, and change weights, biases and ranges where that helps.

`Candidate` is a quantized model that is not written anywhere; `Trials` runs candidates on held-back samples and says
how much of their outputs is noise.
"""
