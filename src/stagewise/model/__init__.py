"""A causal language model and its tokenizer: where they come from and how they are talked to."""
