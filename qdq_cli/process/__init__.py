"""What every program needs and knows nothing of models: errors, interrupts, clock, progress, JSON documents."""
