"""What comes in and goes out: messages and their parsing, files, sorting, the store."""
