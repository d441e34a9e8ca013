"""How people are told: one kind of channel a file, behind the protocol of `channel`."""
