"""Where trials are recorded: a journal file, a database, or a proxy before one."""
