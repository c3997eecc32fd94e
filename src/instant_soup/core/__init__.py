"""The nouns: masks, scopes, scores, tickets. Torch, safetensors and the standard library, nothing else."""
