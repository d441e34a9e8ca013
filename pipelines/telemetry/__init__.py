"""What the long-running processes tell of themselves: logs, and each message's way through them."""
