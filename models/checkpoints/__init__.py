"""A user's own classifier in the Hugging Face layout: read, checked, and exported once."""
