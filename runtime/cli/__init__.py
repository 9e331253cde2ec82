"""The command line ``instinfer``: one file per command, on top of all packages."""
