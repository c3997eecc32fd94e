"""What the papers share: look-aheads that give weak masks, and the ways to blend what they give."""
