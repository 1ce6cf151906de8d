"""The command line. Commands parse, call one function, print; they are imported when called."""
