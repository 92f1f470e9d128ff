"""The command line: options and help of each command, and what the commands do and print."""
