"""Small language models with behaviours that are trained into them: their text, their network, their training."""
