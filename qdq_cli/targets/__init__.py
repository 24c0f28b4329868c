"""What differs by the runtime a model is quantized for, a room or a table each; `known` lists them by name."""
