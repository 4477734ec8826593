"""How a forward pass is watched and differentiated under a rule: what generators make their maps from."""
