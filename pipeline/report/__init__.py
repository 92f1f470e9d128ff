"""The report of a run: one folder of HTML that opens from disk, without a server or a network."""
