"""Pre-trained models, ready to be learned with: what is prunable, what is new, how they are fed."""
