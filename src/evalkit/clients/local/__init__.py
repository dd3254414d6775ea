"""What the engines in this process share: prompts as tokens, and tokens as text."""
