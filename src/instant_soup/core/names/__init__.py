"""Where tensors stand in models of all names, and what is made of what."""
